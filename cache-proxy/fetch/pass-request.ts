import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { bodyStream } from '../../core/http/body-stream.ts';
import type { Answer } from '../../oci/client/transport.ts';
import { poolHeader } from '../pools/pool-header.ts';
import type { OriginLink } from './origin-link.ts';

export interface Passing {
  /** As the client wrote it: path and query. */
  readonly path: string;
  /** Address of the client. */
  readonly client?: string;
  /** Where this pool is its own token service. */
  readonly endpoint: string;
  /** Scheme and host of the registry's replicas. */
  readonly origins: readonly string[];
}

/** What belongs to one connection, or to the way between nginx and us. */
const hop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'expect',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-request-id',
]);

/** What an answer may not bring: it would speak to nginx, or set cookies for everybody. */
const kept = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'set-cookie',
  // A pool before another one speaks for itself.
  poolHeader.toLowerCase(),
]);

/** Hands a request on to the registry as the client made it. Errors: OriginAway. */
export function passRequest(link: OriginLink, request: IncomingMessage, passing: Passing): Promise<Answer> {
  const { method = 'GET', headers } = request;
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  return link.pass({
    method,
    path: passing.path,
    headers: {
      ...plain(headers, (name) => !hop.has(name) && !name.startsWith('x-pool-')),
      ...(passing.client === undefined ? {} : { 'x-forwarded-for': passing.client }),
    },
    ...(hasBody ? { body: bodyStream(request) } : {}),
  });
}

/** Its headers as the client should read them: whoever went through the pool goes on through the pool. */
export function passedHeaders(answer: Answer, { endpoint, origins }: Passing): Record<string, string> {
  const headers = plain(answer.headers, (name) => !kept.has(name) && !name.startsWith('x-accel-'));
  const { location } = headers;
  if (location !== undefined && URL.canParse(location, answer.url)) {
    const target = new URL(location, answer.url);
    const own =
      origins.includes(target.origin) || (answer.status < 300 && target.pathname.startsWith('/v2/'));
    if (own) headers['location'] = target.pathname + target.search;
  }
  const challenge = headers['www-authenticate'];
  if (challenge !== undefined) {
    headers['www-authenticate'] = challenge.replace(
      /^(Bearer\b[^]*?\brealm=)"[^"]*"/i,
      `$1"${endpoint}/token"`,
    );
  }
  return headers;
}

function plain(headers: IncomingHttpHeaders, keep: (name: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && keep(name)) found[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return found;
}
