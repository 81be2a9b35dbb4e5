import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { createOutbound } from '../../oci/client/outbound.ts';
import { type ClientAuth, createClientAuth, parseChallenge } from '../../oci/client/token.ts';
import { type Answer, createTransport, type Transport } from '../../oci/client/transport.ts';
import { createOriginHealth, type OriginHealth } from '../agent/health.ts';
import type { EngineLog } from '../pool-engine.ts';
import type { Origin } from '../pools/pool.ts';

/** The registry gave no answer, or none that may be passed on: never "it is not there". */
export class OriginAway extends Error {
  override readonly name = 'OriginAway';
}

/** The line to one registry, all replicas of it. */
export interface OriginLink {
  /** Nothing is asked at the moment, as nobody answered lately; it is tried again by itself. */
  readonly away: boolean;
  /** As in `agent/health.ts`: milliseconds, while the line crawls. */
  readonly hurry: number | undefined;
  /**
   * GET with the pool's own account. Redirects are followed, without that account; a replica that answers 5xx or not at all makes room for the next.
   * The caller consumes or destroys the body. Errors: OriginAway, also for 429 and 5xx of all, and when the account is refused.
   */
  fetch(request: LinkRequest): Promise<Answer>;
  /** As the client wrote it, with its own Authorization. Errors: OriginAway. */
  pass(request: PassedRequest): Promise<Answer>;
  close(): void;
}

export interface LinkRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly repository: string;
  /** Milliseconds until a registry that answers nothing else either counts as away. */
  readonly patience: number;
}

export interface PassedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Readable;
}

export interface OriginLinkOptions {
  readonly origin: Origin;
  /** Redirects may lead to private addresses: of the company's own registry, not of one on the internet. */
  readonly trusted: boolean;
  /** What is known of this registry, where others ask it as well; not closed here. Undefined: it finds out itself. */
  readonly health?: OriginHealth | undefined;
  readonly log: EngineLog;
}

/** For the storage behind a registry. */
const slowMs = 10_000;
/** For what a client asks the registry itself. */
const lookMs = 4_400;
/** One that answers small questions and then fails again is left alone for so long. */
const restMs = 5_000;
/** Without a byte in the middle of a body; then the rest is asked for anew. */
const stallMs = 10_000;
/** For whoever writes: assembling a large upload takes its time. */
const writeMs = 15 * 60_000;
const maxRedirects = 4;
const maxAttempts = 4;

/** Errors: those of reading `origin.ca`. */
export function createOriginLink(options: OriginLinkOptions): OriginLink {
  const { origin, trusted, log } = options;
  const urls = origin.urls.map((url) => new URL(url));
  const settings = {
    maxSockets: 1024,
    ...(origin.ca === undefined ? {} : { ca: readFileSync(origin.ca, 'utf8') }),
  };
  const reads = createTransport({ ...settings, timeoutMs: stallMs });
  const writes = createTransport({ ...settings, timeoutMs: writeMs });
  const { credential } = origin;
  const basic =
    credential === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
  const signIns = new Map<URL, ClientAuth>();
  const followers = new Map<URL, { transport: Transport; may: (target: URL) => boolean }>();
  let preferred = 0;
  let failures = 0;
  let restUntil = 0;
  let refusedAt = Number.NEGATIVE_INFINITY;

  const inOrder = (): URL[] => urls.map((_, index) => urls[(preferred + index) % urls.length] as URL);

  const probe = async (replica: URL): Promise<void> => {
    const headers = basic === undefined ? {} : { authorization: basic };
    const answer = await send(reads, 'GET', new URL('/v2/', replica), headers);
    answer.body.resume();
  };
  const health =
    options.health ??
    createOriginHealth({
      log,
      probe: async (signal) => {
        const ended = once(signal, 'abort').then(() => Promise.reject(new Error('no answer in time')));
        await Promise.race([Promise.any(urls.map(probe)), ended]);
      },
    });
  const isAway = (): boolean => health.away || Date.now() < restUntil;
  const fail = (reason: string): OriginAway => {
    failures += 1;
    if (failures > 1) restUntil = Date.now() + restMs;
    health.failed(reason);
    return new OriginAway(reason);
  };

  const follow = async (replica: URL, first: Answer, headers: LinkRequest['headers']): Promise<Answer> => {
    let answer = first;
    for (let hops = 0; isRedirect(answer.status); hops += 1) {
      const { location } = answer.headers;
      answer.body.resume();
      if (location === undefined || hops >= maxRedirects || !URL.canParse(location, answer.url)) {
        throw new OriginAway(`${replica.host} redirects without an end`);
      }
      const target = new URL(location, answer.url);
      const { transport, may } = followerOf(replica);
      if (!may(target)) throw new OriginAway(`${replica.host} redirects to ${target.host}, where none may`);
      answer = await within(slowMs, send(transport, 'GET', target, headers));
    }
    return answer;
  };
  const followerOf = (replica: URL): { transport: Transport; may: (target: URL) => boolean } => {
    const known = followers.get(replica);
    if (known !== undefined) return known;
    const rules = createOutbound(replica, { realmHosts: [], redirectHosts: [] });
    const made = trusted
      ? {
          transport: createTransport({ maxSockets: 1024, timeoutMs: stallMs }),
          may: ({ protocol }: URL) =>
            protocol === 'https:' || (protocol === 'http:' && replica.protocol === 'http:'),
        }
      : {
          transport: createTransport({ maxSockets: 1024, timeoutMs: stallMs }, rules.mayConnect),
          may: (target: URL) => rules.mayRedirect(target),
        };
    followers.set(replica, made);
    return made;
  };

  /** Asks something small meanwhile: a registry that only has much to do is not away. */
  const inTime = async (answer: Promise<Answer>, patience: number, replica: URL): Promise<Answer> => {
    try {
      return await raced(answer, patience / 2);
    } catch (error) {
      if (!(error instanceof Late)) throw error;
    }
    let alive = false;
    probe(replica).then(
      () => {
        alive = true;
      },
      () => {},
    );
    try {
      return await within(patience / 2, answer);
    } catch (error) {
      throw error instanceof Late && alive ? new Slow(`${replica.host} takes too long`) : error;
    }
  };
  const signInOf = (replica: URL, refused: Answer): ClientAuth => {
    const known = signIns.get(replica);
    if (known !== undefined) return known;
    const realm = parseChallenge(refused.headers['www-authenticate'])?.parameters['realm'] ?? '';
    // Whom the registry itself names, over TLS, may see the password: that is how every client finds its token service.
    const tokenHosts = URL.canParse(realm) ? [new URL(realm).host] : [];
    const made = createClientAuth(
      replica,
      reads,
      credential === undefined ? undefined : { ...credential, tokenHosts },
    );
    signIns.set(replica, made);
    return made;
  };

  const ask = async (replica: URL, request: LinkRequest, patience: number): Promise<Answer> => {
    const url = new URL(request.path, replica);
    const scope = `repository:${request.repository}:pull`;
    const as = (authorization: string | undefined): Promise<Answer> =>
      send(reads, 'GET', url, {
        ...request.headers,
        ...(authorization === undefined ? {} : { authorization }),
      });
    const sent = signIns.get(replica)?.header(scope) ?? basic;
    const answer = await inTime(as(sent), patience, replica);
    if (answer.status !== 401) return follow(replica, answer, request.headers);
    answer.body.resume();
    const auth = signInOf(replica, answer);
    if (await within(patience, auth.learn(answer, scope, sent))) {
      const again = await inTime(as(auth.header(scope)), patience, replica);
      if (again.status !== 401) return follow(replica, again, request.headers);
      again.body.resume();
    }
    if (Date.now() - refusedAt > 60_000) {
      refusedAt = Date.now();
      log.error(
        { registry: replica.host, account: credential?.username },
        'the registry refuses the account of the pool',
      );
    }
    throw new Refused(`${replica.host} refuses the account of the pool`);
  };

  return {
    get away() {
      return isAway();
    },
    get hurry() {
      return health.hurry;
    },
    async fetch(request) {
      if (isAway()) throw new OriginAway('the registry is away');
      const order = inOrder();
      let reason = '';
      let answered = false;
      let slow = false;
      for (const replica of order) {
        try {
          const started = performance.now();
          const over = health.asking();
          const answer = await ask(replica, request, request.patience / order.length).finally(over);
          answered = true;
          if (answer.status === 429) {
            answer.body.resume();
            throw new Refused(`${replica.host} is asked too often`);
          }
          if (answer.status < 500) {
            preferred = urls.indexOf(replica);
            failures = 0;
            health.answered(performance.now() - started);
            return answer;
          }
          answer.body.resume();
          reason = `${replica.host} answered ${answer.status}`;
        } catch (error) {
          if (error instanceof Refused) throw error;
          slow ||= error instanceof Slow;
          reason = describe(error);
        }
      }
      if (answered) throw new OriginAway(reason);
      // Once is no absence; one that answers nothing but small questions is.
      if (slow && failures === 0) {
        failures = 1;
        throw new OriginAway(reason);
      }
      throw fail(reason);
    },
    async pass({ method, path, headers, body }) {
      if (isAway()) throw new OriginAway('the registry is away');
      let reason = '';
      for (const replica of inOrder()) {
        const url = new URL(path, replica);
        try {
          if (body !== undefined) return await writes.send({ method, url, headers: { ...headers }, body });
          const look = method === 'GET' || method === 'HEAD';
          const sent = send(look ? reads : writes, method, url, headers);
          return look ? await within(lookMs / urls.length, sent) : await sent;
        } catch (error) {
          reason = describe(error);
          // Some of it may have been done already.
          if (method !== 'GET' && method !== 'HEAD') break;
        }
      }
      throw fail(reason);
    },
    close() {
      if (options.health === undefined) health.close();
      for (const transport of [reads, writes, ...[...followers.values()].map((each) => each.transport)]) {
        transport.close();
      }
    },
  };
}

/** An answer, but none that helps: asking another replica would not. */
class Refused extends OriginAway {}

/** No answer in time, of a registry that answers other questions. */
class Slow extends OriginAway {}

async function send(
  transport: Transport,
  method: string,
  url: URL,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  // An origin without accounts knows us by this alone, and then does not redirect us to its store.
  const own = { 'user-agent': 'brickyard-pool', 'x-pool-proxy': '1' };
  const message = { method, url, headers: { ...own, ...headers } };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transport.send(message);
    } catch (error) {
      // Idle connections that the other side has just closed say nothing about it, and there may be several.
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
      if ((code !== 'ECONNRESET' && code !== 'EPIPE') || attempt >= maxAttempts) throw error;
      await delay(attempt * 10);
    }
  }
}

/** What comes too late is let go. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  try {
    return await raced(promise, ms);
  } catch (error) {
    if (error instanceof Late) {
      void promise.then(
        (value) => (value as Partial<Answer> | undefined)?.body?.destroy(),
        () => {},
      );
    }
    throw error;
  }
}

class Late extends Error {
  override readonly message = 'no answer in time';
}

async function raced<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late()), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

function describe(error: unknown): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
