import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { UserError } from '../../core/user-error.ts';
import { createClientAuth } from '../../oci/client/token.ts';
import { createTransport } from '../../oci/client/transport.ts';
import { createOriginHealth, type OriginHealth } from '../agent/health.ts';
import type { EngineLog } from '../pool-engine.ts';
import type { Origin } from '../pools/pool.ts';

/** Nobody could be asked, or nobody could tell: 503 for the client, unless the cache knows. */
export class OriginAway extends Error {
  override readonly name = 'OriginAway';
}

export interface UpstreamRequest {
  readonly method: 'GET' | 'HEAD';
  /** Below the registry, `/v2/…`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What a token has to be for; empty for none. */
  readonly scope: string;
  /** Somebody else's Authorization, or none (''), instead of the pool's own. */
  readonly authorization?: string;
  /** Milliseconds until the answer begins. Default `answerTimeout`. */
  readonly timeout?: number;
}

interface Connections {
  readonly plain: HttpAgent;
  readonly secure: HttpsAgent;
}

/** One registry that is fetched from: its replicas, the pool's account there, and whether it answers at all. */
export interface UpstreamClient {
  readonly health: OriginHealth;
  /** Which replica answered last; for what is passed through. */
  readonly current: URL;
  /**
   * Below 500 and not 429, whatever else: redirects are followed, the pool is signed in. The caller reads the body or destroys it. Errors: OriginAway,
   * at once while the origin is known to be away.
   */
  fetch(message: UpstreamRequest): Promise<IncomingMessage>;
  /** Some of an answer's body came: the line is busy, not dead. */
  readonly alive: () => void;
  /** Connections for what is passed through, so that slow pushes never stand in the way of fetches. */
  readonly passing: Connections;
  /** Lets what is under way end, and then its connections. */
  retire(): void;
  close(): void;
}

/** Until an answer begins: below the three seconds that a client may wait for one out of the cache. */
export const answerTimeout = 2500;
/** Without a byte in the middle of an answer. */
const stallTimeout = 15_000;
const maxRedirects = 5;
/** While bytes of other answers came within so long, an answer may take up to `busyTimeout` to begin. */
const busyWithin = 1000;
const busyTimeout = 15_000;

/** `shared`: somebody else's knowledge of the same registry, and his to end. Errors: UserError for a file of certificates that cannot be read. */
export function createUpstreamClient(origin: Origin, log: EngineLog, shared?: OriginHealth): UpstreamClient {
  const bases = origin.urls.map((url) => new URL(url));
  const ca = origin.ca === undefined ? undefined : readCa(origin.ca);
  const connect = (): Connections => {
    const settings = { keepAlive: true, maxSockets: 1024, scheduling: 'lifo' } as const;
    return {
      plain: new HttpAgent(settings),
      secure: new HttpsAgent({ ...settings, ...(ca === undefined ? {} : { ca }) }),
    };
  };
  const [agents, passing] = [connect(), connect()];
  const connections = [agents.plain, agents.secure, passing.plain, passing.secure];
  const { credential } = origin;
  const basic =
    credential === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
  const transport = createTransport({ timeoutMs: answerTimeout, ...(ca === undefined ? {} : { ca }) });
  const auths = bases.map((base) => createClientAuth(base, transport, credential));
  let current = 0;
  let lastByte = Number.NEGATIVE_INFINITY;
  /** It has its own token service: Basic would only be refused. */
  let wantsToken = false;

  async function signedIn(message: UpstreamRequest, at: number, timeout: number): Promise<IncomingMessage> {
    const [base, auth] = [bases[at], auths[at]];
    if (base === undefined || auth === undefined) throw new OriginAway('there is no such replica');
    if (message.authorization !== undefined) {
      return followed(message, base, message.authorization || undefined, timeout);
    }
    const sent = auth.header(message.scope) ?? (wantsToken ? undefined : basic);
    const answer = await followed(message, base, sent, timeout);
    if (answer.statusCode !== 401) return answer;
    const told = { status: 401, headers: answer.headers, body: answer, url: base };
    answer.resume();
    const again = await auth.learn(told, message.scope, sent);
    const next = auth.header(message.scope);
    if (next?.startsWith('Bearer ') === true) wantsToken = true;
    return again ? followed(message, base, next, timeout) : answer;
  }

  /** Authorization goes to the registry alone: a redirect may lead anywhere. */
  async function followed(
    message: UpstreamRequest,
    base: URL,
    authorization: string | undefined,
    timeout: number,
  ): Promise<IncomingMessage> {
    let target = new URL(message.path, base);
    for (let hop = 0; ; hop += 1) {
      // An origin without accounts knows us by the second one alone, and then does not redirect us to its store.
      const own = { 'user-agent': 'brickyard-pool', 'x-pool-proxy': '1' };
      const headers: Record<string, string> = { ...own, ...message.headers };
      if (authorization !== undefined && target.origin === base.origin)
        headers['authorization'] = authorization;
      const answer = await exchange(message.method, target, headers, timeout);
      const location = redirectOf(answer);
      if (location === undefined) return answer;
      answer.resume();
      if (hop === maxRedirects) throw new OriginAway('redirected too often');
      target = redirectTarget(location, target);
    }
  }

  function exchange(
    method: string,
    url: URL,
    headers: Record<string, string>,
    timeout: number,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const start = secure ? requestHttps : requestHttp;
      const agent = secure ? agents.secure : agents.plain;
      const request = start(url, { method, headers, agent, timeout: stallTimeout });
      const started = performance.now();
      const onTime = (): void => {
        // On a line that is full of other layers an answer takes its time, and that the origin lives can be seen.
        const now = performance.now();
        if (now - lastByte > busyWithin || now - started > busyTimeout)
          request.destroy(new Error('no answer in time'));
        else timer = setTimeout(onTime, busyWithin);
      };
      let timer = setTimeout(onTime, timeout);
      request.on('timeout', () => request.destroy(new Error('the answer stalled')));
      request.on('response', (response) => {
        clearTimeout(timer);
        // Whoever reads it is told; until somebody does, it must not end the process.
        response.on('error', () => {});
        resolve(response);
      });
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      request.end();
    });
  }

  async function ask(message: UpstreamRequest): Promise<IncomingMessage> {
    const deadline = performance.now() + (message.timeout ?? answerTimeout);
    let reason: unknown;
    for (let tried = 0; tried < bases.length; tried += 1) {
      const at = (current + tried) % bases.length;
      // So that one that hangs leaves time for the others.
      const timeout = (deadline - performance.now()) / (bases.length - tried);
      if (timeout <= 0) break;
      try {
        const answer = await signedIn(message, at, timeout);
        const status = answer.statusCode ?? 0;
        if (status < 500 && status !== 429) {
          current = at;
          return answer;
        }
        answer.resume();
        reason = new Error(`it answered ${status}`);
        if (status === 429) break;
      } catch (error) {
        reason = error;
      }
    }
    throw new OriginAway(reason instanceof Error ? reason.message : 'no answer in time', { cause: reason });
  }

  const probe = async (): Promise<void> => {
    // Any answer will do, but all of it: a line that breaks off after the head carries nothing.
    const answer = await ask({ method: 'GET', path: '/v2/', scope: '', authorization: '' });
    for await (const chunk of answer) void chunk;
  };
  const health = shared ?? createOriginHealth({ log, probe });

  return {
    health,
    get current() {
      return bases[current] as URL;
    },
    passing,
    alive() {
      lastByte = performance.now();
    },
    async fetch(message) {
      if (health.away) throw new OriginAway(health.snapshot().reason ?? 'the origin does not answer');
      try {
        const answer = await ask(message);
        health.answered();
        return answer;
      } catch (error) {
        health.failed((error as Error).message);
        throw error;
      }
    },
    retire() {
      if (shared === undefined) health.close();
      transport.close();
      // Without keep-alive a connection ends with what it is used for.
      for (const agent of connections) {
        for (const sockets of Object.values(agent.freeSockets))
          for (const socket of sockets ?? []) socket.destroy();
        agent.on('free', (socket) => socket.destroy());
      }
    },
    close() {
      if (shared === undefined) health.close();
      transport.close();
      for (const agent of connections) agent.destroy();
    },
  };
}

function redirectOf(answer: IncomingMessage): string | undefined {
  return [301, 302, 303, 307, 308].includes(answer.statusCode ?? 0) ? answer.headers.location : undefined;
}

function redirectTarget(location: string, from: URL): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const allowed =
    target?.protocol === 'https:' || (target?.protocol === 'http:' && from.protocol === 'http:');
  if (target === undefined || !allowed) throw new OriginAway('redirected to where we do not follow');
  target.username = '';
  target.password = '';
  return target;
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new UserError(`the origin's certificates ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}
