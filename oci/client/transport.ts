import { lookup as lookupName } from 'node:dns';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OciError } from '../errors.ts';

// An import of its values would load Node's whole fetch client and WebSocket: 50 ms and 15 MB in every process.
const { Agent: HttpAgent, request: requestHttp } = process.getBuiltinModule('node:http');

/** One exchange with a server, without authentication and without a look at the status. */
export interface Transport {
  /** Errors: UNAVAILABLE when no response came; what `body` fails with. The caller consumes or destroys the response's body. */
  send(message: OutgoingMessage): Promise<Answer>;
  /** Ends idle connections. */
  close(): void;
}

export interface OutgoingMessage {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream is destroyed when it cannot be sent to its end. */
  readonly body?: Buffer | Readable;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: IncomingMessage;
  /** Of the last hop, where redirects were followed. */
  readonly url: URL;
}

export interface TransportOptions {
  /** Milliseconds without a byte in either direction. Default 60,000. */
  readonly timeoutMs?: number;
  /** Connections kept to one server at the same time. Default 16. */
  readonly maxSockets?: number;
  /** Certificates (PEM) that servers may be signed by, instead of the system's. */
  readonly ca?: string;
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY (also in lower case) decide which proxy is asked. Default: none is. */
  readonly proxyEnv?: Readonly<Record<string, string | undefined>>;
}

/** Whether the address that `host` stands for may be connected to. */
export type MayConnect = (host: string, address: string) => boolean;

export function createTransport(
  options: TransportOptions = {},
  mayConnect: MayConnect = () => true,
): Transport {
  const settings = {
    keepAlive: true,
    maxSockets: options.maxSockets ?? 16,
    timeout: options.timeoutMs ?? 60_000,
    ...(options.proxyEnv === undefined ? {} : { proxyEnv: { ...options.proxyEnv } }),
  };
  const plain = new HttpAgent(settings);
  const secure = new HttpsAgent({ ...settings, ...(options.ca === undefined ? {} : { ca: options.ca }) });
  const timeout = settings.timeout;
  const lookup = guardedLookup(mayConnect);
  return {
    async send({ method, url, headers, body }) {
      checkLiteral(url, mayConnect);
      const start = url.protocol === 'https:' ? requestHttps : requestHttp;
      const agent = url.protocol === 'https:' ? secure : plain;
      const request = start(url, { method, headers: { ...headers }, agent, timeout, lookup });
      request.on('timeout', () => request.destroy(new Error(`${url.host} went silent`)));
      const answered = new Promise<IncomingMessage>((resolve, reject) => {
        request.on('response', resolve);
        request.on('error', reject);
      });
      try {
        if (body === undefined || Buffer.isBuffer(body)) request.end(body);
        else await sendStream(body, request, answered);
        const response = await answered;
        return { status: response.statusCode ?? 0, headers: response.headers, body: response, url };
      } catch (error) {
        // Whoever fails first, nobody listens to the other any more.
        answered.catch(() => {});
        if (error instanceof OciError) throw error;
        throw new OciError('UNAVAILABLE', { message: `${url.host} does not answer`, cause: error });
      }
    },
    close() {
      plain.destroy();
      secure.destroy();
    },
  };
}

/** A server may answer (with an error) before it has read everything; then the rest is not sent. */
async function sendStream(
  body: Readable,
  request: ReturnType<typeof requestHttp>,
  answered: Promise<IncomingMessage>,
): Promise<void> {
  const sent = pipeline(body, request);
  const early = await Promise.race([sent.then(() => undefined), answered]);
  if (early === undefined) return;
  if (body.readableEnded) await sent;
  else {
    sent.catch(() => {});
    body.destroy();
  }
}

/** An address that is written down needs no DNS, and is asked for by nobody else. */
function checkLiteral(url: URL, mayConnect: MayConnect): void {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 && !mayConnect(url.hostname, host)) throw refusedAddress(url.hostname);
}

/** The addresses that are connected to are the ones that were looked at: a second question could get another answer. */
function guardedLookup(mayConnect: MayConnect): LookupFunction {
  return (host, options, callback) => {
    lookupName(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      const allowed = addresses.filter(({ address }) => mayConnect(host, address));
      const [first] = allowed;
      if (first === undefined) return callback(refusedAddress(host), '', 0);
      if (options.all === true) return callback(null, allowed);
      return callback(null, first.address, first.family);
    });
  };
}

function refusedAddress(host: string): OciError {
  return new OciError('UNAVAILABLE', { message: `${host} has no address that may be connected to` });
}
