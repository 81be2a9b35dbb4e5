import type { IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { Agent as HttpAgent, request as requestHttp } from '../../core/http/node-http.ts';

/** Asks the pool's engine as a node does, so that what is fetched is kept under the very keys that nodes ask for. */
export interface EngineClient {
  /** The caller consumes or destroys the answer. Errors: EngineUnreachable, `signal`'s reason. */
  get(request: EngineRequest): Promise<IncomingMessage>;
  /** Ends idle connections. */
  close(): void;
}

export interface EngineRequest {
  readonly ns?: string;
  readonly repository: string;
  readonly kind: 'manifests' | 'blobs';
  readonly reference: string;
  /** First and last byte. */
  readonly range?: { readonly start: number; readonly end: number };
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

export interface EngineClientOptions {
  /** Where the engine listens: `http://` or `https://`, host and port. */
  readonly url: string;
  /** Value of the header that the gate knows this process by; another one after its configuration was read again. */
  readonly authorization: () => string;
  /** The listener's own certificate (PEM): who has its key is the engine, whatever name it is made out for. */
  readonly certificate?: string;
  /** Milliseconds without a byte. Default 60,000: a slice of a slow link takes its time. */
  readonly timeoutMs?: number;
}

export class EngineUnreachable extends Error {
  override readonly name = 'EngineUnreachable';
}

/** Errors: TypeError for an address that is none. */
export function createEngineClient(options: EngineClientOptions): EngineClient {
  const { authorization, certificate, timeoutMs = 60_000 } = options;
  const base = loopback(new URL(options.url));
  const settings = { keepAlive: true, maxSockets: 8, timeout: timeoutMs };
  const secure = base.protocol === 'https:';
  const agent = secure
    ? new HttpsAgent({
        ...settings,
        ...(certificate === undefined ? {} : { ca: certificate, allowPartialTrustChain: true }),
        checkServerIdentity: () => undefined,
      })
    : new HttpAgent(settings);
  return {
    get({ ns, repository, kind, reference, range, accept, signal }) {
      const path = `/v2/${repository}/${kind}/${reference}${ns === undefined ? '' : `?ns=${encodeURIComponent(ns)}`}`;
      const headers = {
        authorization: authorization(),
        'user-agent': 'brickyard-prewarm',
        ...(range === undefined ? {} : { range: `bytes=${range.start}-${range.end}` }),
        ...(accept === undefined ? {} : { accept }),
      };
      return new Promise((resolve, reject) => {
        const outgoing = (secure ? requestHttps : requestHttp)(new URL(path, base), {
          agent,
          headers,
          timeout: timeoutMs,
          ...(signal === undefined ? {} : { signal }),
        });
        outgoing.on('timeout', () => outgoing.destroy(new Error('no byte came in time')));
        outgoing.on('response', resolve);
        outgoing.on('error', (cause) => {
          if (signal?.aborted === true) reject(signal.reason as Error);
          else reject(new EngineUnreachable(`the pool's engine: ${cause.message}`, { cause }));
        });
        outgoing.end();
      });
    },
    close: () => agent.destroy(),
  };
}

/** An address for "all of this machine" is one to listen on, not to connect to. */
function loopback(url: URL): URL {
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  else if (url.hostname === '[::]') url.hostname = '[::1]';
  return url;
}
