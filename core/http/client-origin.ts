import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { createNetworks } from './networks.ts';

/** What a request says about who sent it and how this server was reached. */
export interface ClientOrigin {
  /**
   * `scheme://host[:port]`, without a slash at its end: for addresses that must be absolute, such as a challenge's realm.
   * `publicUrl` where it is configured. Else, from a trusted proxy only, X-Forwarded-Proto and -Host. Else the Host header if
   * it is a host at all, which can only mislead the sender itself; else the socket's own address.
   */
  publicOrigin(request: IncomingMessage): string;
  /** The address that a rate limit counts: the last one in X-Forwarded-For that is no trusted proxy's. */
  address(request: IncomingMessage): string;
  /** Whether a trusted proxy handed this request on: only then its other headers may speak for the proxy. */
  fromTrustedProxy(request: IncomingMessage): boolean;
}

export interface ClientOriginOptions {
  /** As people outside reach this server, e.g. `https://registry.example.com`. */
  readonly publicUrl?: string;
  /** Addresses or CIDR blocks of proxies whose X-Forwarded-… headers are believed. Default: none. */
  readonly trustedProxies?: readonly string[];
}

/** Errors: TypeError for a public URL or a block that is none. */
export function createClientOrigin(options: ClientOriginOptions = {}): ClientOrigin {
  const configured = options.publicUrl === undefined ? undefined : readPublicUrl(options.publicUrl);
  const trusted = createNetworks(options.trustedProxies ?? []);
  const fromProxy = (request: IncomingMessage): boolean => trusted(request.socket.remoteAddress);

  return {
    publicOrigin(request) {
      if (configured !== undefined) return configured;
      const proxied = fromProxy(request);
      const scheme = proxied && lastOf(request.headers['x-forwarded-proto']) === 'https' ? 'https' : 'http';
      const host =
        (proxied ? lastOf(request.headers['x-forwarded-host']) : undefined) ?? request.headers.host;
      if (host !== undefined && hostPattern.test(host)) return `${scheme}://${host}`;
      const { localAddress = '127.0.0.1', localPort = 80 } = request.socket;
      return `${scheme}://${isIP(localAddress) === 6 ? `[${localAddress}]` : localAddress}:${localPort}`;
    },
    address(request) {
      const peer = request.socket.remoteAddress ?? '';
      if (!trusted(peer)) return peer;
      const hops = String(request.headers['x-forwarded-for'] ?? '').split(',');
      for (const hop of hops.reverse()) {
        const address = hop.trim();
        if (isIP(address) === 0) break;
        if (!trusted(address)) return address;
      }
      return peer;
    },
    fromTrustedProxy: fromProxy,
  };
}

const hostPattern =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,252}[a-zA-Z0-9])?|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?$/;

function readPublicUrl(text: string): string {
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`the public URL must begin with http:// or https://: ${text}`);
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new TypeError(`the public URL is a scheme and a host, with nothing behind them: ${text}`);
  }
  return url.origin;
}

/** The value that the nearest proxy added, which is the trusted one. */
function lastOf(header: string | string[] | undefined): string | undefined {
  const text = Array.isArray(header) ? header.at(-1) : header;
  return text?.split(',').at(-1)?.trim();
}
