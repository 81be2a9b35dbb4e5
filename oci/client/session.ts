import type { Readable } from 'node:stream';
import { OciError } from '../errors.ts';
import { formatRoute, type Route } from '../route.ts';
import { formatScope } from '../scope.ts';
import { drain, throwAnswer } from './answers.ts';
import type { Outbound } from './outbound.ts';
import { type ClientAuth, parseChallenge } from './token.ts';
import type { Answer, Transport } from './transport.ts';

/** Requests to one registry: signed in, redirected, and with every refusal thrown. */
export interface ClientSession {
  readonly registry: URL;
  /** The response, whose status is below 400. Errors: what the registry answered, or UNAVAILABLE. */
  call(message: ClientCall): Promise<Answer>;
}

export interface ClientCall {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly route: Route;
  /** Instead of the route's own address: where an upload's Location pointed. */
  readonly url?: URL;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream cannot be sent a second time, so a token must be at hand: open the upload first. */
  readonly body?: Buffer | Readable;
  /** Of a mount. */
  readonly from?: string;
}

const maxRedirects = 5;

export function createClientSession(
  registry: URL,
  transport: Transport,
  auth: ClientAuth,
  { userAgent, outbound }: { readonly userAgent: string; readonly outbound?: Outbound | undefined },
): ClientSession {
  return {
    registry,
    async call(message) {
      const url = message.url ?? addressOf(registry, message);
      const scope = scopeOf(message);
      if (message.route.kind === 'catalog') await introduce(scope);
      const sent = auth.header(scope);
      let answer = await attempt(message, url, sent);
      if (answer.status === 401 && !isStream(message.body) && (await auth.learn(answer, scope, sent))) {
        await drain(answer);
        answer = await attempt(message, url, auth.header(scope));
      }
      if (answer.status === 401 && auth.hasCredentials && lacksScope(answer)) {
        await drain(answer);
        throw new OciError('DENIED', { message: `${url.host} does not allow this to our account` });
      }
      if (answer.status >= 400) await throwAnswer(answer, message.route.kind);
      return answer;
    },
  };

  /** Some registries show strangers a shorter catalog instead of refusing it: whoever has an account says so before he asks. */
  async function introduce(scope: string): Promise<void> {
    if (!auth.hasCredentials || auth.header(scope) !== undefined) return;
    const route = { kind: 'base' } as const;
    const answer = await attempt({ method: 'GET', route }, new URL(formatRoute(route), registry), undefined);
    if (answer.status === 401) await auth.learn(answer, scope, undefined);
    await drain(answer);
  }

  async function attempt(message: ClientCall, url: URL, authorization: string | undefined): Promise<Answer> {
    let target = url;
    for (let hop = 0; ; hop += 1) {
      const headers: Record<string, string> = { 'user-agent': userAgent, ...message.headers };
      // Never to another server: a redirect may lead anywhere (a bucket, a cache, a thief).
      if (authorization !== undefined && target.origin === url.origin)
        headers['authorization'] = authorization;
      if (message.body === undefined && (message.method === 'POST' || message.method === 'PUT')) {
        headers['content-length'] = '0';
      }
      const answer = await transport.send({
        method: message.method,
        url: target,
        headers,
        ...(message.body === undefined ? {} : { body: message.body }),
      });
      const location = redirectOf(answer, message);
      if (location === undefined) return answer;
      await drain(answer);
      if (hop === maxRedirects) throw new OciError('UNAVAILABLE', { message: 'redirected too often' });
      target = resolveRedirect(location, target, outbound);
    }
  }
}

/** Only for reads: nobody redirects a write, and its body is gone by then. */
function redirectOf(answer: Answer, message: ClientCall): string | undefined {
  if (message.method !== 'GET' && message.method !== 'HEAD') return undefined;
  return [301, 302, 303, 307, 308].includes(answer.status) ? answer.headers.location : undefined;
}

function resolveRedirect(location: string, from: URL, outbound: Outbound | undefined): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const allowed =
    target?.protocol === 'https:' || (target?.protocol === 'http:' && from.protocol === 'http:');
  if (target === undefined || !allowed || outbound?.mayRedirect(target) === false) {
    throw new OciError('UNAVAILABLE', { message: `${from.host} redirects to where we do not follow` });
  }
  target.username = '';
  target.password = '';
  return target;
}

function addressOf(registry: URL, message: ClientCall): URL {
  const url = new URL(formatRoute(message.route), registry);
  for (const [name, value] of Object.entries(message.query ?? {})) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) url.searchParams.append(name, one);
  }
  return url;
}

function scopeOf(message: ClientCall): string {
  const { method, route } = message;
  if (route.kind === 'base') return '';
  if (route.kind === 'catalog') return 'registry:catalog:*';
  const upload = route.kind === 'uploads' || route.kind === 'upload';
  const reads = method === 'GET' || method === 'HEAD';
  let actions = ['pull', 'push'];
  if (!upload && method === 'DELETE') actions = ['delete'];
  else if (!upload && reads) actions = ['pull'];
  const scope = formatScope({ type: 'repository', name: route.repository, actions });
  if (message.from === undefined) return scope;
  return `${scope} ${formatScope({ type: 'repository', name: message.from, actions: ['pull'] })}`;
}

/** Docker's way to say "known, and not allowed": the token that was just given grants too little. Signing in again would not help. */
function lacksScope(answer: Answer): boolean {
  const challenge = parseChallenge(answer.headers['www-authenticate']);
  return challenge?.scheme === 'bearer' && challenge.parameters['error'] === 'insufficient_scope';
}

function isStream(body: Buffer | Readable | undefined): boolean {
  return body !== undefined && !Buffer.isBuffer(body);
}
