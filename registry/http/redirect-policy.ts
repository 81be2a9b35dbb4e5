import { createNetworks } from '../../core/http/networks.ts';

export interface RedirectPolicyOptions {
  /** Addresses or CIDR blocks: only clients in them are redirected. Default or empty: all. */
  readonly networks?: readonly string[];
  /** Clients that are never redirected, because they cannot reach the store: wins over `networks`. */
  readonly exceptNetworks?: readonly string[];
  /** Bytes: smaller blobs are served here, where a second connection would cost more than it spares. Default 0. */
  readonly minSize?: number;
  /** Whether HEAD is redirected as well. Default true, as docker's registry does. */
  readonly head?: boolean;
}

export interface BlobRequest {
  /** IP address; one that cannot be read is in no network. */
  readonly client: string;
  readonly method: 'GET' | 'HEAD';
  /** Bytes of the whole blob, whatever range is asked for; undefined = not looked up yet. */
  readonly size?: number;
}

/** Whether this client may be sent to the object store; never whether he may read the blob. */
export type RedirectPolicy = (request: BlobRequest) => boolean;

/** Errors: TypeError for a block that is none. */
export function createRedirectPolicy(options: RedirectPolicyOptions = {}): RedirectPolicy {
  const { networks = [], exceptNetworks = [], minSize = 0, head = true } = options;
  const included = createNetworks(networks);
  const excluded = createNetworks(exceptNetworks);
  return ({ client, method, size }) => {
    if (method === 'HEAD' && !head) return false;
    if (size !== undefined && size < minSize) return false;
    if (networks.length > 0 && !included(client)) return false;
    return !excluded(client);
  };
}
