import { Worker } from 'node:worker_threads';
import type { BcryptReply, BcryptRequest } from './bcrypt-worker.ts';

/** bcrypt that leaves the event loop free. */
export interface Bcrypt {
  /** Errors: BcryptBusy. */
  compare(password: string, hash: string): Promise<boolean>;
  /** `$2b$`. `cost`: doubling the work with each step; default 10 (about 60 ms). Errors: BcryptBusy. */
  hash(password: string, cost?: number): Promise<string>;
  /** Ends the thread; what waits is refused. */
  close(): Promise<void>;
}

/** So much work is waiting already that adding to it would only help an attacker. */
export class BcryptBusy extends Error {
  override readonly name = 'BcryptBusy';
}

interface Waiting {
  readonly resolve: (value: boolean | string) => void;
  readonly reject: (reason: Error) => void;
}

type Work =
  | { kind: 'compare'; password: string; hash: string }
  | { kind: 'hash'; password: string; cost: number };

/**
 * bcryptjs is JavaScript and would hold up every other request for the 60 ms that one password takes, so one thread does
 * nothing else. It starts with the first password; idle, it does not keep the process alive. `limit`: most that may wait, default 32.
 */
export function createBcrypt({ limit = 32 }: { limit?: number } = {}): Bcrypt {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let next = 0;

  const refuseAll = (reason: Error): void => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  };

  const start = (): Worker => {
    // Compiled, the neighbour is JavaScript: `new URL` is not rewritten as imports are.
    const file = import.meta.url.endsWith('.ts') ? './bcrypt-worker.ts' : './bcrypt-worker.js';
    // The thread needs none of the environment, which holds secrets.
    const started = new Worker(new URL(file, import.meta.url), { env: {}, execArgv: [] });
    started.on('message', (reply: BcryptReply) => {
      waiting.get(reply.id)?.resolve(reply.value);
      waiting.delete(reply.id);
      if (waiting.size === 0) started.unref();
    });
    started.on('error', (cause) => refuseAll(new Error('the password thread failed', { cause })));
    started.on('exit', () => {
      if (worker === started) refuseAll(new Error('the password thread ended'));
    });
    return started;
  };

  const ask = (work: Work): Promise<boolean | string> => {
    if (waiting.size >= limit) return Promise.reject(new BcryptBusy('too many passwords are being checked'));
    worker ??= start();
    const id = next;
    next += 1;
    const { promise, resolve, reject } = Promise.withResolvers<boolean | string>();
    waiting.set(id, { resolve, reject });
    // Only an idle thread lets the process end: a command that hashes one password waits for it.
    worker.ref();
    worker.postMessage({ id, ...work } satisfies BcryptRequest);
    return promise;
  };

  return {
    compare: async (password, hash) => (await ask({ kind: 'compare', password, hash })) === true,
    hash: async (password, cost = 10) => String(await ask({ kind: 'hash', password, cost })),
    async close() {
      const ending = worker;
      refuseAll(new Error('closed'));
      await ending?.terminate();
    },
  };
}
