import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, ConnectionLost, createHttp, type Http } from '../../helpers/fault-http.ts';
import type { SoakCounts } from './counts.ts';

/** What a client does when a connection breaks or a balancer has nobody to ask: it tries again, for so long. */
const patienceMs = 60_000;

export interface SoakHttp {
  /** One try. Errors: ConnectionLost, also where a server answered that it cannot at the moment (502, 503, 504). */
  readonly once: Http;
  /** Tries again until there is an answer; `retried` tells that an earlier try may have been carried out. */
  send(
    method: string,
    path: string,
    options?: { headers?: Record<string, string>; body?: Buffer },
  ): Promise<Answer & { readonly retried: boolean }>;
  /** `work` again and again until no connection breaks under it. */
  persist<T>(work: (tries: number) => Promise<T>): Promise<T>;
  /** Requests that are not answered yet. */
  waiting(): readonly string[];
  close(): void;
}

export function createSoakHttp(base: string, counts: SoakCounts): SoakHttp {
  const http = createHttp(() => base, patienceMs);
  const waiting = new Map<symbol, { readonly what: string; readonly since: number }>();
  const once: Http = {
    ...http,
    async send(method, path, options) {
      const mark = Symbol();
      waiting.set(mark, { what: `${method} ${path}`, since: Date.now() });
      try {
        const answer = await http.send(method, path, options);
        if (answer.status < 502 || answer.status > 504) return answer;
        throw new ConnectionLost(`${method} ${path}: ${answer.status}`);
      } finally {
        waiting.delete(mark);
      }
    },
  };
  async function persist<T>(work: (tries: number) => Promise<T>): Promise<T> {
    const until = Date.now() + patienceMs;
    for (let tries = 1; ; tries++) {
      try {
        return await work(tries);
      } catch (error) {
        if (!(error instanceof ConnectionLost) || Date.now() > until) throw error;
        counts.transportRetries++;
        await sleep(Math.min(1000, 25 * 2 ** tries));
      }
    }
  }
  return {
    once,
    persist,
    waiting: () =>
      [...waiting.values()].map(
        ({ what, since }) => `${what} since ${((Date.now() - since) / 1000).toFixed(1)} s`,
      ),
    send: (method, path, options) =>
      persist(async (tries) => ({ ...(await once.send(method, path, options)), retried: tries > 1 })),
    close: () => http.close(),
  };
}
