import {
  type Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as requestHttp,
} from 'node:http';
import { request as requestHttps } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { poolHeader } from '../pools/pool-header.ts';
import { refuseAway } from './answer.ts';
import type { Exchange } from './exchange.ts';
import { answerTimeout, type UpstreamClient } from './upstream.ts';

/** What is written may take the origin long at its end (it compares digests, and copies); a question must not. */
const writeTimeout = 15 * 60_000;

export interface ForwardOptions {
  /** Where clients reach the pool, for the challenges and addresses that the origin answers. */
  readonly endpoint: string;
  /** All that may answer for the origin: what its Locations point to. */
  readonly origins: readonly string[];
}

/** Passes a request on with its own Authorization, and both bodies as they come: neither is kept or waited for. */
export async function forwardToOrigin(
  exchange: Exchange,
  upstream: UpstreamClient,
  path: string,
  options: ForwardOptions,
): Promise<void> {
  const { request, response } = exchange;
  if (upstream.health.away) {
    await refuseAway(request, response);
    return;
  }
  const base = upstream.current;
  const reads = request.method === 'GET' || request.method === 'HEAD';
  try {
    const answer = await passRequest(exchange, new URL(path, base), {
      agents: upstream.passing,
      host: base.host,
      timeout: reads ? answerTimeout : writeTimeout,
    });
    upstream.health.answered();
    await passAnswer(exchange, answer, rewritten(answer.headers, request, options));
  } catch (error) {
    if (response.headersSent || response.destroyed || request.destroyed) response.destroy();
    else {
      upstream.health.failed((error as Error).message);
      await refuseAway(request, response);
    }
  }
}

/** For `/v2/` and `/token`, which the agent answers. Host stays the client's. */
export async function forwardToAgent(exchange: Exchange, agent: HttpAgent, address: string): Promise<void> {
  const { request, response } = exchange;
  try {
    const answer = await passRequest(exchange, new URL(request.url ?? '/', `http://${address}`), {
      agents: { plain: agent },
      host: request.headers.host,
      timeout: 10_000,
    });
    await passAnswer(exchange, answer, answer.headers);
  } catch {
    if (response.headersSent || response.destroyed || request.destroyed) response.destroy();
    else await refuseAway(request, response);
  }
}

interface PassOptions {
  readonly agents: { readonly plain: HttpAgent; readonly secure?: HttpAgent };
  readonly host: string | undefined;
  /** Milliseconds from the request's last byte, or from its beginning where it has no body, to the answer. */
  readonly timeout: number;
}

function passRequest(
  { request, response, client }: Exchange,
  url: URL,
  options: PassOptions,
): Promise<IncomingMessage> {
  const { agents, host, timeout } = options;
  const secure = url.protocol === 'https:';
  const headers = endToEnd(request.headers);
  // Whoever believes us must not believe what a client made up.
  for (const name of Object.keys(headers))
    if (/^(?:x-pool-|x-forwarded-|forwarded$)/.test(name)) delete headers[name];
  if (host !== undefined) headers['host'] = host;
  headers['x-forwarded-for'] = client;
  headers['x-pool-client'] = client;
  return new Promise((resolve, reject) => {
    const onward = (secure ? requestHttps : requestHttp)(url, {
      method: request.method ?? 'GET',
      headers,
      agent: secure ? agents.secure : agents.plain,
    });
    let timer: NodeJS.Timeout | undefined;
    const limit = (milliseconds: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => onward.destroy(new Error('no answer in time')), milliseconds);
    };
    limit(answerTimeout);
    // Only the connection has to stand at once; how long a push takes is the client's.
    onward.once('socket', (socket) => {
      const connected = (): void => limit(timeout);
      if (!socket.connecting) connected();
      else socket.once('connect', connected);
    });
    onward.on('response', (answer) => {
      clearTimeout(timer);
      answer.on('error', () => {});
      resolve(answer);
    });
    onward.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    response.once('close', () => {
      if (!response.writableFinished) onward.destroy();
    });
    request.on('data', () => timer?.refresh());
    // An answer that comes before the body's end counts; what was left of the body is then read and dropped.
    pipeline(request, onward).catch(() => {});
  });
}

async function passAnswer(
  exchange: Exchange,
  answer: IncomingMessage,
  headers: IncomingHttpHeaders,
): Promise<void> {
  const { response } = exchange;
  exchange.wrote(0);
  response.writeHead(answer.statusCode ?? 502, endToEnd(headers));
  answer.on('data', (chunk: Buffer) => exchange.wrote(chunk.length));
  await pipeline(answer, response);
}

/** RFC 9110 7.6.1: of one connection alone. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
]);

export function endToEnd(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !hopByHop.has(name) && !named.has(name)),
  );
}

/** The origin speaks of itself; for this client the pool is the registry, and where tokens are had. */
export function rewritten(
  headers: IncomingHttpHeaders,
  request: IncomingMessage,
  { endpoint, origins }: ForwardOptions,
): IncomingHttpHeaders {
  const { location, 'www-authenticate': challenge } = headers;
  // A pool before another one speaks for itself.
  const { [poolHeader.toLowerCase()]: _other, ...changed } = headers;
  if (challenge !== undefined) {
    changed['www-authenticate'] = challenge.replace(/^(Bearer\s.*?realm=)"[^"]*"/i, `$1"${endpoint}/token"`);
  }
  if (location !== undefined && URL.canParse(location)) {
    const target = new URL(location);
    const hosts = [...origins.map((url) => new URL(url).host), request.headers.host];
    if (hosts.includes(target.host)) changed.location = target.pathname + target.search;
  }
  return changed;
}
