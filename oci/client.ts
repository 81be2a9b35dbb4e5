import { createClientDeleter } from './client/deleter.ts';
import { createClientLister } from './client/lister.ts';
import { createOutbound, type OutboundRules } from './client/outbound.ts';
import { createClientReader } from './client/reader.ts';
import { createClientSession } from './client/session.ts';
import { type Credentials, createClientAuth } from './client/token.ts';
import { createTransport, type TransportOptions } from './client/transport.ts';
import { createClientWriter } from './client/writer.ts';
import type { Registry } from './registry.ts';

export type { OutboundRules } from './client/outbound.ts';
export type { Credentials } from './client/token.ts';

export interface RegistryClientOptions extends TransportOptions {
  /** `http://` or `https://` and host; what stands behind them is not used. */
  readonly url: string;
  /** Without them the client is nobody in particular, and fetches anonymous tokens where it is asked to. */
  readonly credentials?: Credentials;
  readonly userAgent?: string;
  /** For services: where the registry may lead us. Without them, anywhere. */
  readonly outbound?: OutboundRules;
}

export interface RegistryClient extends Registry {
  /** Ends idle connections. */
  close(): void;
}

/** Another registry, over HTTP, as a `Registry`. Errors: TypeError for an address that is none. */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const registry = new URL(new URL(options.url).origin);
  const outbound = options.outbound === undefined ? undefined : createOutbound(registry, options.outbound);
  const transport = createTransport(options, outbound?.mayConnect);
  const auth = createClientAuth(registry, transport, options.credentials, { outbound });
  const session = createClientSession(registry, transport, auth, {
    userAgent: options.userAgent ?? 'brickyard',
    outbound,
  });
  return {
    ...createClientReader(session),
    ...createClientWriter(session),
    ...createClientDeleter(session),
    ...createClientLister(session),
    close: () => transport.close(),
  };
}
