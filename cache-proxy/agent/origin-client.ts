import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { readBytes } from '../../oci/client/answers.ts';
import { type ClientAuth, createClientAuth, parseChallenge } from '../../oci/client/token.ts';
import { type Answer, createTransport } from '../../oci/client/transport.ts';
import type { Origin } from '../pools/pool.ts';

/** Whether a registry answers, as whoever asked it last found out. What `health.ts` keeps fits. */
export interface OriginState {
  /** Asking would only cost time. */
  readonly away: boolean;
  /** Milliseconds for which whoever has something to go on with waits for an answer; undefined: for as long as it takes. */
  readonly hurry: number | undefined;
  /** `took`: milliseconds, where question and answer were small. */
  answered(took?: number): void;
  /** Something small is asked; the result is called when that is over. */
  asking(): () => void;
  /** `reason` is for people. */
  failed(reason: string): void;
}

/** The registry could not be asked: never to be read as "no". */
export class OriginUnavailable extends Error {
  override readonly name = 'OriginUnavailable';
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number;
  /**
   * It only has no answer to this question, or to whoever asked it (429): then nothing that was remembered for its absence may be used, or whoever makes it fail on
   * purpose would keep what was taken from him.
   */
  readonly answersOthers: boolean;
  constructor(
    reason: string,
    { retryAfter = 5, answersOthers = false }: { retryAfter?: number; answersOthers?: boolean } = {},
  ) {
    super(reason);
    this.retryAfter = retryAfter;
    this.answersOthers = answersOthers;
  }
}

export interface OriginRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT';
  /** Path and query; or a whole address elsewhere, as of a token service. */
  readonly target: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export interface OriginAnswer {
  /** Below 500, and not 429. Redirects are not followed. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** At most 1 MiB. */
  readonly body: Buffer;
}

/**
 * Short questions to a registry, of which it may have several replicas. No question takes longer than a few seconds, and none any time at all while the
 * registry is known to be away. Every method raises OriginUnavailable: no answer, an unreadable one, 429 or 5xx.
 */
export interface OriginClient {
  /** Its replicas, as configured. */
  readonly urls: readonly URL[];
  /** With the request's own headers and nothing else. */
  ask(request: OriginRequest): Promise<OriginAnswer>;
  /** With the pool's account. `scope`: what a token must be good for, where the registry wants tokens. */
  askAsPool(request: OriginRequest, scope: string): Promise<OriginAnswer>;
  /** Asks also while it is away, whether it is still: rejects when it is. */
  probe(signal: AbortSignal): Promise<void>;
  close(): void;
}

export interface OriginClientDeps {
  readonly origin: Origin;
  readonly state: OriginState;
  /** Milliseconds for an answer of a registry that may hang. Default 2,500. */
  readonly patience?: number;
}

const maxBody = 1024 * 1024;
/** What takes longer to carry than this says nothing about how soon others are answered. */
const smallBytes = 4 * 1024;

/** Errors: those of reading `origin.ca`. */
export function createOriginClient({ origin, state, patience = 2_500 }: OriginClientDeps): OriginClient {
  const urls = origin.urls.map((url) => new URL(url));
  const transport = createTransport({
    timeoutMs: patience * 2,
    maxSockets: 64,
    ...(origin.ca === undefined ? {} : { ca: readFileSync(origin.ca, 'utf8') }),
  });
  const { credential } = origin;
  const basic =
    credential === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
  const signIns = new Map<string, ClientAuth>();
  /** Which replica answered last: it is asked first. */
  let preferred = 0;

  const send = async (
    { method, target, headers = {}, body }: OriginRequest,
    replica: URL,
  ): Promise<Answer> => {
    const message = {
      method,
      url: new URL(target, replica),
      headers: { 'user-agent': 'brickyard-pool', ...headers },
      ...(body === undefined ? {} : { body }),
    };
    try {
      return await transport.send(message);
    } catch (error) {
      // An idle connection that the other side has just closed says nothing about the registry; all our questions may be asked twice.
      if (!isReset(error)) throw error;
      return transport.send(message);
    }
  };

  const read = async (sent: Promise<Answer>): Promise<OriginAnswer> => {
    const { status, headers, body } = await sent;
    return { status, headers, body: await readBytes(body, maxBody) };
  };

  /** A registry that answers anything is alive, and may take twice the time for what it must fetch itself, as mirrors do. */
  const inTime = async (request: OriginRequest, replica: URL, ms: number): Promise<OriginAnswer> => {
    const answer = read(send(request, replica));
    answer.catch(() => {});
    const timer = new AbortController();
    const wait = async (): Promise<OriginAnswer> => {
      await delay(ms * 0.4, undefined, { signal: timer.signal });
      const answersOthers = await isAlive(replica, ms * 0.6);
      if (answersOthers) await delay(ms, undefined, { signal: timer.signal });
      throw new OriginUnavailable(`${replica.host} does not answer in time`, { answersOthers });
    };
    try {
      return await Promise.race([answer, wait()]);
    } finally {
      timer.abort();
    }
  };

  const isAlive = async (replica: URL, ms: number): Promise<boolean> => {
    const timer = new AbortController();
    const silent = delay(ms, false, { signal: timer.signal });
    silent.catch(() => {});
    const pinged = read(send({ method: 'GET', target: '/v2/' }, replica)).then(
      ({ status }) => status < 500 && status !== 429,
      () => false,
    );
    try {
      return await Promise.race([pinged, silent]);
    } finally {
      timer.abort();
    }
  };

  const attempt = async (
    request: OriginRequest,
    onAnswer: (answer: OriginAnswer, replica: URL) => Promise<OriginAnswer> = async (answer) => answer,
  ): Promise<OriginAnswer> => {
    if (state.away) throw new OriginUnavailable('the registry is away');
    const elsewhere = request.target instanceof URL;
    const order = elsewhere
      ? [request.target]
      : urls.map((_, index) => urls[(preferred + index) % urls.length] as URL);
    const share = patience / order.length;
    let reason = '';
    let answersOthers = false;
    let retryAfter: number | undefined;
    for (const replica of order) {
      try {
        const asked = request.body?.length ?? 0;
        const started = performance.now();
        const over = elsewhere || asked > smallBytes ? undefined : state.asking();
        const first = await inTime(request, replica, share).finally(over);
        const took = performance.now() - started;
        const small = first.body.length + asked <= smallBytes;
        const answer = await onAnswer(first, replica);
        if (answer.status < 500 && answer.status !== 429) {
          if (!elsewhere) {
            preferred = urls.indexOf(replica);
            state.answered(small ? took : undefined);
          }
          return answer;
        }
        reason = `${replica.host} answered ${answer.status}`;
        retryAfter = readSeconds(answer.headers['retry-after']);
        answersOthers ||= elsewhere ? answer.status === 429 : await isAlive(replica, share * 0.6);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
        answersOthers ||= error instanceof OriginUnavailable && error.answersOthers;
      }
    }
    if (!elsewhere && !answersOthers) state.failed(reason);
    throw new OriginUnavailable(reason, {
      answersOthers,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    });
  };

  const signIn = (answer: OriginAnswer, replica: URL): ClientAuth => {
    const known = signIns.get(replica.href);
    if (known !== undefined) return known;
    const realm = parseChallenge(answer.headers['www-authenticate'])?.parameters['realm'] ?? '';
    // Whom the registry itself names, over TLS, may see the password: that is how every client finds its token service.
    const tokenHosts = URL.canParse(realm) ? [new URL(realm).host] : [];
    const auth = createClientAuth(
      replica,
      transport,
      credential === undefined ? undefined : { ...credential, tokenHosts },
    );
    signIns.set(replica.href, auth);
    return auth;
  };

  return {
    urls,
    ask: (request) => attempt(request),
    askAsPool(request, scope) {
      const as = (header: string | undefined): OriginRequest =>
        header === undefined
          ? request
          : { ...request, headers: { ...request.headers, authorization: header } };
      // Registries that take Basic everywhere need no token, and so no question for one.
      const known = [...signIns.values()]
        .map((auth) => auth.header(scope))
        .find((header) => header !== undefined);
      const sent = known ?? basic;
      return attempt(as(sent), async (answer, replica) => {
        if (answer.status !== 401) return answer;
        const auth = signIn(answer, replica);
        const refused = { headers: answer.headers } as Answer;
        if (!(await auth.learn(refused, scope, sent))) return answer;
        return inTime(as(auth.header(scope)), replica, patience);
      });
    },
    async probe(signal) {
      const asked = urls.map(async (url) => {
        const { status } = await read(send({ method: 'GET', target: '/v2/' }, url));
        if (status >= 500 || status === 429) throw new OriginUnavailable(`${url.host} answered ${status}`);
      });
      const ended = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(new OriginUnavailable('no answer in time')), {
          once: true,
        });
      });
      await Promise.race([Promise.any(asked), ended]);
    },
    close: () => transport.close(),
  };
}

/** Of Retry-After; undefined for a date or anything else. At most a minute. */
function readSeconds(header: string | undefined): number | undefined {
  return /^\d{1,5}$/.test(header ?? '') ? Math.min(Math.max(Number(header), 1), 60) : undefined;
}

function isReset(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'ECONNRESET' || cause?.code === 'EPIPE';
}

/** For a registry that nobody else watches: away for three seconds after each failure. */
export function createPlainState(now: () => number = Date.now): OriginState {
  let until = 0;
  return {
    get away() {
      return now() < until;
    },
    hurry: undefined,
    asking: () => () => {},
    answered() {
      until = 0;
    },
    failed() {
      until = now() + 3_000;
    },
  };
}
