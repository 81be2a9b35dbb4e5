import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ObjectStore,
  ObjectStoreUnavailable,
  PreconditionFailed,
  type PutOptions,
} from './object-store.ts';

/** What a store did when it was tried, not what it says of itself: some accept a condition and ignore it. */
export interface ProbeReport {
  /** Whether garbage may be collected while people push: every check went well. */
  readonly collectionSafe: boolean;
  readonly checks: readonly ProbeCheck[];
  /** In plain words, one for each check that failed. */
  readonly reasons: readonly string[];
  readonly milliseconds: number;
}

export interface ProbeCheck {
  readonly name:
    | 'create once'
    | 'replace this version only'
    | 'replace nothing'
    | 'one winner'
    | 'list at once';
  readonly ok: boolean;
  /** What failed; empty when nothing did. */
  readonly text: string;
}

export interface ProbeOptions {
  /** That race for one key; default 16. */
  readonly writers?: number;
}

/** So often a write of unknown outcome is sent again. */
const resends = 8;

/**
 * Tries on keys of its own (`probe/<id>/…`, removed afterwards) what collection relies on. Takes some 30 requests and well under a second on a store
 * nearby. Errors: ObjectStoreUnavailable when the store could not be tried, which says nothing of its safety.
 */
export async function probeStore(store: ObjectStore, options: ProbeOptions = {}): Promise<ProbeReport> {
  const begun = performance.now();
  const prefix = `probe/${randomUUID()}/`;
  const probes: [ProbeCheck['name'], () => Promise<string | undefined>][] = [
    ['create once', () => createOnce(store, `${prefix}create`)],
    ['replace this version only', () => replaceVersion(store, `${prefix}replace`)],
    ['replace nothing', () => replaceNothing(store, `${prefix}missing`)],
    ['one winner', () => oneWinner(store, `${prefix}race`, options.writers ?? 16)],
    ['list at once', () => listAtOnce(store, `${prefix}list/`)],
  ];
  try {
    const checks: ProbeCheck[] = [];
    for (const [name, probe] of probes) {
      const text = await probe();
      checks.push({ name, ok: text === undefined, text: text ?? '' });
    }
    const reasons = checks.flatMap(({ ok, text }) => (ok ? [] : [text]));
    const milliseconds = performance.now() - begun;
    return { collectionSafe: reasons.length === 0, checks, reasons, milliseconds };
  } finally {
    await clean(store, prefix);
  }
}

/** Probes at the first call and remembers the report; a store that could not be tried is tried again at the next. */
export function createStoreProbe(store: ObjectStore, options: ProbeOptions = {}): () => Promise<ProbeReport> {
  let report: Promise<ProbeReport> | undefined;
  return () => {
    report ??= probeStore(store, options).catch((error: unknown) => {
      report = undefined;
      throw error;
    });
    return report;
  };
}

async function createOnce(store: ObjectStore, key: string): Promise<string | undefined> {
  const first = newBody();
  if ((await attempt(store, key, first, { ifNoneMatch: '*' })) === undefined) {
    return 'a first "create if nothing is there" was refused';
  }
  if ((await attempt(store, key, newBody(), { ifNoneMatch: '*' })) !== undefined) {
    return '"create if nothing is there" replaced what was there';
  }
  return holds(store, key, first);
}

async function replaceVersion(store: ObjectStore, key: string): Promise<string | undefined> {
  const { etag } = await store.put(key, newBody());
  const second = newBody();
  if ((await attempt(store, key, second, { ifMatch: etag })) === undefined) {
    return '"replace exactly this version" was refused although nobody had changed it';
  }
  if ((await attempt(store, key, newBody(), { ifMatch: etag })) !== undefined) {
    return '"replace exactly this version" replaced another version';
  }
  return holds(store, key, second);
}

async function replaceNothing(store: ObjectStore, key: string): Promise<string | undefined> {
  const { etag } = await store.put(key, newBody());
  await store.delete(key);
  if ((await store.get(key)) !== undefined) return 'an object was read after it had been deleted';
  const won = await attempt(store, key, newBody(), { ifMatch: etag });
  return won === undefined && (await store.get(key)) === undefined
    ? undefined
    : '"replace exactly this version" made an object where there was none';
}

async function oneWinner(store: ObjectStore, key: string, writers: number): Promise<string | undefined> {
  const race = async (condition: PutOptions): Promise<string | undefined> => {
    const bodies = Array.from({ length: writers }, newBody);
    const results = await Promise.all(bodies.map((body) => attempt(store, key, body, condition)));
    const winners = bodies.filter((_, index) => results[index] !== undefined);
    const [winner] = winners;
    if (winner === undefined || winners.length > 1) {
      return `of ${writers} writers at once ${winners.length} were told that they had won`;
    }
    return holds(store, key, winner);
  };
  const created = await race({ ifNoneMatch: '*' });
  if (created !== undefined) return created;
  const etag = (await store.get(key))?.etag;
  return etag === undefined ? 'an object was not there after it had been written' : race({ ifMatch: etag });
}

async function listAtOnce(store: ObjectStore, prefix: string): Promise<string | undefined> {
  const key = `${prefix}object`;
  for (let round = 0; round < 3; round++) {
    await store.put(key, newBody());
    if ((await store.list({ prefix })).objects.length !== 1)
      return 'a list did not show what had been written';
    await store.delete(key);
    if ((await store.list({ prefix })).objects.length > 0) return 'a list showed what had been deleted';
  }
  return undefined;
}

async function holds(store: ObjectStore, key: string, body: Buffer): Promise<string | undefined> {
  return (await store.get(key))?.body.equals(body) === true
    ? undefined
    : 'a read did not give what had been written last';
}

/** Never the same twice, so that no two versions have the same ETag. */
function newBody(): Buffer {
  return Buffer.from(`{"probe":"${randomUUID()}"}\n`.padEnd(80));
}

/** The ETag when it won, undefined when it was refused; what is in between is sent again. */
async function attempt(
  store: ObjectStore,
  key: string,
  body: Buffer,
  condition: PutOptions,
): Promise<string | undefined> {
  for (let sent = 1; ; sent++) {
    try {
      return (await store.put(key, body, condition)).etag;
    } catch (error) {
      if (error instanceof PreconditionFailed) {
        if (sent === 1) return undefined;
        // The refusal may be the echo of an earlier sending that did land.
        const there = await store.get(key);
        return there?.body.equals(body) === true ? there.etag : undefined;
      }
      if (!(error instanceof ObjectStoreUnavailable) || sent > resends) throw error;
    }
    await sleep(10 * 2 ** Math.min(sent, 6) * (0.5 + Math.random()));
  }
}

/** Best effort: what stays is small, and nothing reads it. */
async function clean(store: ObjectStore, prefix: string): Promise<void> {
  try {
    const { objects } = await store.list({ prefix });
    await store.deleteMany(objects.map(({ key }) => key));
  } catch {
    // The store is gone; the probe itself says so.
  }
}
