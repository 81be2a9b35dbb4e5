import { createHmac, randomBytes, type ScryptOptions, scrypt } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { createBoundedCache } from '../../core/bounded-cache.ts';
import { isObject } from '../../oci/client/answers.ts';
import type { EngineLog } from '../pool-engine.ts';
import { OriginUnavailable } from './origin-client.ts';
import type { PrivateFile } from './private-file.ts';

/**
 * Who was let into what by the origin, for the time in which it cannot be asked. Of a credential only a slow salted hash is kept, so whoever takes the
 * pool's disk has no passwords. A credential is any text that tells one person from another; the empty one is nobody's.
 */
export interface Grants {
  /** The origin has just let this credential pull from these repositories, or (with none) sign in. */
  remember(credential: string, repositories: readonly string[]): Promise<void>;
  /** The origin has refused it: as a whole, or for these repositories. */
  forget(credential: string, repositories?: readonly string[]): Promise<void>;
  /** Whether it was let in within the grace; without a repository: anywhere. Errors: OriginUnavailable: too many are asked about at once. */
  has(credential: string, repository?: string): Promise<boolean>;
  /** Writes what is not on disk yet. */
  close(): void;
}

export interface GrantsDeps {
  readonly file: PrivateFile;
  readonly log: EngineLog;
  /** Milliseconds. */
  readonly grace: number;
  /** scrypt's N: how slow a hash is, a power of two. Default 16,384: 16 MiB and about 40 ms, nothing for a person and too much for a list of guesses. */
  readonly cost?: number;
  readonly now?: () => number;
}

interface Stored {
  readonly salt: string;
  readonly grants: readonly (readonly [
    id: string,
    repositories: readonly (readonly [name: string, at: number])[],
  ])[];
}

const maxCredentials = 10_000;
const maxRepositories = 500;
/** Of all credentials together: what is written anew at each change stays below 10 MiB. */
const maxGrants = 100_000;
/** Guesses that may wait for their hash; each takes a thread of the pool that files need as well. */
const maxHashing = 32;
const writeMs = 5_000;
/** Stands for having signed in. */
const anywhere = '*';

export function createGrants({ file, log, grace, cost = 16_384, now = Date.now }: GrantsDeps): Grants {
  const stored = load(file, log);
  const salt = stored?.salt ?? randomBytes(16).toString('base64');
  const byId = new LRUCache<string, Map<string, number>>({
    max: maxCredentials,
    maxSize: maxGrants,
    sizeCalculation: (repositories) => repositories.size + 1,
  });
  for (const [id, repositories] of stored?.grants ?? []) byId.set(id, new Map(repositories));
  /** The slow hash of those who came lately, by a quick one that means nothing outside of this process. */
  const ids = createBoundedCache<string, Promise<string>>(maxCredentials);
  const secret = randomBytes(32);
  let hashing = 0;
  let timer: NodeJS.Timeout | undefined;

  const idOf = (credential: string): Promise<string> => {
    if (credential === '') return Promise.resolve('nobody');
    const quick = createHmac('sha256', secret).update(credential).digest('base64');
    const known = ids.get(quick);
    if (known !== undefined) return known;
    if (hashing >= maxHashing)
      return Promise.reject(
        new OriginUnavailable('too many sign in at once', { retryAfter: 1, answersOthers: true }),
      );
    hashing += 1;
    const made = slowHash(credential, salt, { N: cost, r: 8, p: 1 }).finally(() => {
      hashing -= 1;
    });
    made.catch(() => ids.delete(quick));
    ids.set(quick, made);
    return made;
  };

  const write = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const oldest = now() - grace;
    const grants = [...byId.entries()].flatMap(([id, repositories]) => {
      const live = [...repositories].filter(([, at]) => at > oldest);
      return live.length === 0 ? [] : [[id, live] as const];
    });
    try {
      file.write(JSON.stringify({ salt, grants: grants.reverse() } satisfies Stored));
    } catch (error) {
      log.warn(
        { err: error },
        'remembered grants cannot be written: after a restart nobody pulls until the origin answers',
      );
    }
  };
  const changed = (): void => {
    timer ??= setTimeout(write, writeMs).unref();
  };

  return {
    async remember(credential, repositories) {
      const id = await idOf(credential);
      const known = byId.get(id) ?? new Map<string, number>();
      let news = false;
      for (const name of [anywhere, ...repositories]) {
        news ||= now() - (known.get(name) ?? 0) > grace / 100;
        known.delete(name);
        known.set(name, now());
      }
      for (const name of known.keys()) {
        if (known.size <= maxRepositories) break;
        known.delete(name);
      }
      byId.set(id, known);
      // Each pull grants again what is granted: that a hundredth of the grace is missing on disk does no harm.
      if (news) changed();
    },
    async forget(credential, repositories) {
      const id = await idOf(credential);
      if (repositories === undefined) byId.delete(id);
      else for (const name of repositories) byId.get(id)?.delete(name);
      changed();
    },
    async has(credential, repository = anywhere) {
      const at = byId.get(await idOf(credential))?.get(repository);
      return at !== undefined && now() - at < grace;
    },
    close() {
      if (timer !== undefined) write();
    },
  };
}

function slowHash(credential: string, salt: string, options: ScryptOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    scrypt(credential, Buffer.from(salt, 'base64'), 32, options, (error, hash) => {
      if (error === null) resolve(hash.toString('base64'));
      else reject(error);
    });
  });
}

function load(file: PrivateFile, log: EngineLog): Stored | undefined {
  try {
    const text = file.read();
    if (text === undefined) return undefined;
    const value: unknown = JSON.parse(text);
    if (isObject(value) && typeof value['salt'] === 'string' && Array.isArray(value['grants'])) {
      return value as unknown as Stored;
    }
    throw new Error('it holds something else');
  } catch (error) {
    log.warn({ err: error }, 'remembered grants cannot be read; they are gathered anew');
    return undefined;
  }
}
