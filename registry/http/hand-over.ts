import type { IncomingMessage } from 'node:http';
import type { Principal } from '../../core/auth/authorizer.ts';
import type { ClientOrigin } from '../../core/http/client-origin.ts';
import type { LocatedBlob } from '../../oci/registry.ts';
import type { RedirectPolicy } from './redirect-policy.ts';

/** Header by which the web server in front says that it can send bytes itself, and from where: `files` or `s3`. */
export const frontHeader = 'x-brickyard-front';

export interface HandOverOptions {
  readonly origin: Pick<ClientOrigin, 'address' | 'fromTrustedProxy'>;
  /** Clients go to the object store themselves. */
  readonly redirect?: {
    readonly policy: RedirectPolicy;
    /** True: never this request, whatever the policy says: a pool keeps what it fetches, and does so with its own account. */
    readonly exempt?: (request: IncomingMessage, principal: Principal) => boolean;
    /** Seconds that an address which a client got stays good. */
    readonly ttl: number;
  };
  /** A trusted web server in front sends the bytes (`X-Accel-Redirect`). */
  readonly front?: {
    /** What its header must say. */
    readonly announces: 'files' | 's3';
    /** Address inside of that server; undefined: it cannot send this blob. */
    internalUri(blob: LocatedBlob): Promise<string | undefined>;
  };
  /** Told of each blob that somebody else sends. */
  readonly onHandOver?: (to: Elsewhere['to']) => void;
}

/** Who sends the bytes instead of us, and the address under which he finds them. */
export type Elsewhere =
  | { readonly to: 'store'; readonly location: string }
  | { readonly to: 'front'; readonly uri: string };

/**
 * What may be done with this request once its blob was found, after every check of rights. Undefined: nothing, the bytes come from here,
 * and the blob need not be located for it. Only the front knows GET alone: an answer to HEAD has no bytes that it could spare us.
 */
export type HandOver = (
  request: IncomingMessage,
  method: 'GET' | 'HEAD',
  principal: Principal,
) => ((blob: LocatedBlob) => Promise<Elsewhere | undefined>) | undefined;

export function createHandOver(options: HandOverOptions): HandOver {
  const { origin, redirect, front, onHandOver } = options;
  return (request, method, principal) => {
    const client = redirect === undefined ? '' : origin.address(request);
    const redirected =
      redirect?.exempt?.(request, principal) !== true && redirect?.policy({ client, method }) === true;
    // Only the proxy's own word counts: whoever reaches us without it would get an empty answer and the name of a file.
    const fronted =
      front !== undefined &&
      method === 'GET' &&
      request.headers[frontHeader] === front.announces &&
      origin.fromTrustedProxy(request);
    if (!redirected && !fronted) return undefined;

    return async (blob) => {
      const { dataKey, size } = blob;
      if (dataKey === undefined) return undefined;
      if (redirected && redirect?.policy({ client, method, size }) === true) {
        const location = await blob.address({ method, expiresInSeconds: redirect.ttl });
        if (location !== undefined) return told({ to: 'store', location });
      }
      const uri = fronted ? await front.internalUri(blob) : undefined;
      return uri === undefined ? undefined : told({ to: 'front', uri });
    };
  };

  function told(elsewhere: Elsewhere): Elsewhere {
    onHandOver?.(elsewhere.to);
    return elsewhere;
  }
}
