import { isIP } from 'node:net';
import { UserError } from '../../../core/user-error.ts';
import { isPublicAddress } from '../../../oci/client/outbound.ts';
import { createTransport } from '../../../oci/client/transport.ts';

/** Fetches files by their address, for recipes that name where something lies in the world. */
export interface SourceClient {
  /**
   * The file's bytes. Errors: UserError when the address or one that it redirects to may not be asked, does not answer within a
   * minute, or answers with anything but the file (a status, a web page).
   */
  get(address: string): Promise<AsyncIterable<Buffer>>;
  close(): void;
}

export interface SourceClientOptions {
  /**
   * Addresses that somebody configured. Their hosts may lie in a private network, and be asked by plain HTTP where they are written
   * so: every file is checked by its checksum. All others need HTTPS and a public address.
   */
  readonly trusted: readonly string[];
  /** Proxies and exceptions from them, as curl reads them. Default: this process's own. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds without a byte. Default 60,000. */
  readonly timeoutMs?: number;
}

const mostRedirects = 5;

export function createSourceClient(options: SourceClientOptions): SourceClient {
  const env = options.env ?? process.env;
  const trusted = new Set(
    options.trusted.filter((each) => URL.canParse(each)).map((each) => new URL(each).origin),
  );
  const trustedNames = new Set([...trusted].map((origin) => new URL(origin).hostname));
  // A proxy is this machine's own choice, wherever it lies.
  const proxies = new Set(
    ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']
      .map((name) => env[name] ?? '')
      .flatMap((address) => (URL.canParse(address) ? [new URL(address).hostname] : [])),
  );
  const mayConnect = (host: string, address: string): boolean =>
    trustedNames.has(host) || proxies.has(host) || isPublicAddress(address);
  const transport = createTransport(
    { timeoutMs: options.timeoutMs ?? 60_000, maxSockets: 4, proxyEnv: env },
    mayConnect,
  );

  function check(url: URL): void {
    if (trusted.has(url.origin)) return;
    if (url.protocol !== 'https:') throw new UserError(`${shown(url)} is not HTTPS`);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !mayConnect(url.hostname, host)) {
      throw new UserError(`${url.host} is an address of a private network; only mirrors may lie there`);
    }
  }

  return {
    async get(address) {
      let url = new URL(address);
      for (let redirects = 0; ; redirects += 1) {
        check(url);
        const { status, headers, body } = await transport
          .send({
            method: 'GET',
            url,
            headers: { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'brickyard' },
          })
          .catch((error: Error) => {
            const { cause } = error;
            throw new UserError(`${url.host}: ${cause instanceof Error ? cause.message : error.message}`, {
              cause: error,
            });
          });
        if (status === 200) {
          const type = headers['content-type'] ?? '';
          if (!/^(?:text\/html|application\/xhtml)/i.test(type)) return body;
          body.destroy();
          throw new UserError(`${shown(url)} answers with a web page instead of the file`);
        }
        body.destroy();
        const { location } = headers;
        if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
          throw new UserError(`${shown(url)} answers with status ${status}`);
        }
        if (redirects >= mostRedirects)
          throw new UserError(`${address} redirects more than ${mostRedirects} times`);
        if (!URL.canParse(location, url)) throw new UserError(`${shown(url)} redirects to nowhere`);
        url = new URL(location, url);
      }
    },
    close: () => transport.close(),
  };
}

/** Without the query, which may hold a signature. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
