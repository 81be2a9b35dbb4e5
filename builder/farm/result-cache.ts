import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { JobQueue } from '../../core/queue/job-queue.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { BuildPlan } from '../plan/plan.ts';
import { buildKey } from '../plan/plan-key.ts';

/**
 * Images by what they were made of: equal plan and files are run once for each image repository, whichever branch or tag they are pushed to, and
 * whoever comes meanwhile waits for the one that runs. Nothing is shared between repositories, and so between teams.
 */
export interface ResultCache {
  /** What is known for the key, or another build is just making, or else what `make` makes. Errors: those of `make`, of the store, and an AbortError. */
  once<T extends { readonly digest: Digest }>(
    request: ResultRequest,
    make: () => Promise<T>,
  ): Promise<{ readonly made: T } | { readonly known: KnownResult }>;
}

export interface ResultRequest {
  readonly repository: string;
  /** Of `resultKey`. */
  readonly key: Digest;
  /** Id of the build that asks. */
  readonly build: string;
  /** Somebody wants it made again: what is known does not count, and nobody is waited for. */
  readonly fresh: boolean;
  /** Keeps what is made apart from that of other scopes. Default `keys`. */
  readonly scope?: string;
  readonly signal: AbortSignal;
  /** Told once of a build that is waited for. */
  readonly onWait: (build: string) => void;
}

export interface KnownResult {
  readonly digest: Digest;
  /** Id of the build that made it. */
  readonly build: string;
}

/** Counts up when equal plans and files give other images than before. */
const version = 1;
const prefix = 'builds-results/';

type Entry =
  | { readonly state: 'building'; readonly build: string }
  | { readonly state: 'done'; readonly build: string; readonly digest: Digest };

/** `sourceKey`: as of `keyWithSecrets`, when the commands see any. */
export function resultKey(plan: BuildPlan, sourceKey: string): Digest {
  return digestOf(JSON.stringify(['result', version, process.arch, buildKey(plan, sourceKey)]));
}

export function createResultCache(deps: {
  store: ObjectStore;
  jobs: Pick<JobQueue, 'get'>;
  /** Whether the image is still in the registry. */
  isThere: (repository: string, digest: Digest) => Promise<boolean>;
  /** How often a build that waits looks. Milliseconds, default 500. */
  pollMs?: number;
  /** A build whose lease was not renewed for so long will not come to its end soon. Milliseconds, default 20 s. */
  silentMs?: number;
}): ResultCache {
  const { store, jobs, pollMs = 500, silentMs = 20_000 } = deps;

  async function load(key: string): Promise<{ entry: Entry; etag: string } | undefined> {
    const object = await store.get(key);
    if (object === undefined) return undefined;
    return { entry: JSON.parse(object.body.toString('utf8')) as Entry, etag: object.etag };
  }

  /** Undefined: somebody else wrote first. */
  async function write(key: string, entry: Entry, etag: string | undefined): Promise<string | undefined> {
    // State and nonce first: equal content must never have an equal ETag.
    const { state, ...rest } = entry;
    const body = Buffer.from(JSON.stringify({ state, nonce: randomBytes(16).toString('hex'), ...rest }));
    try {
      const condition = etag === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: etag };
      return (await store.put(key, body, condition)).etag;
    } catch (error) {
      if (error instanceof PreconditionFailed) return undefined;
      throw error;
    }
  }

  /** Resolves when the entry has changed, or the build that it names will not end it. */
  async function untilOver(key: string, etag: string, build: string, signal: AbortSignal): Promise<void> {
    let lease: { readonly text: string; readonly since: number } | undefined;
    do {
      const job = await jobs.get(build);
      if (job?.state !== 'running') return;
      const text = `${job.lease?.fence} ${job.lease?.expiresAt}`;
      if (lease?.text !== text) lease = { text, since: performance.now() };
      else if (performance.now() - lease.since > silentMs) return;
      await delay(pollMs, undefined, { signal });
    } while ((await load(key))?.etag === etag);
  }

  return {
    async once(request, make) {
      const { repository, build, fresh, signal, scope = 'keys' } = request;
      const key = `${prefix}${repository}/_${scope}/${request.key.replace(':', '-')}`;
      let waited = false;
      for (;;) {
        const found = await load(key);
        const entry = found?.entry;
        if (
          entry?.state === 'done' &&
          (!fresh || entry.build === build) &&
          (await deps.isThere(repository, entry.digest))
        ) {
          return { known: { digest: entry.digest, build: entry.build } };
        }
        if (
          found !== undefined &&
          entry?.state === 'building' &&
          entry.build !== build &&
          !fresh &&
          !waited
        ) {
          request.onWait(entry.build);
          // Once only: where the one failed, the others are to fail at the same time, not one behind the other.
          waited = true;
          await untilOver(key, found.etag, entry.build, signal);
          continue;
        }
        const claim = await write(key, { state: 'building', build }, found?.etag);
        if (claim === undefined && !waited) continue;
        return { made: await run(key, build, claim, make) };
      }
    },
  };

  /** `claim`: the version to write over; undefined = another build has claimed the key, and keeps it. */
  async function run<T extends { readonly digest: Digest }>(
    key: string,
    build: string,
    claim: string | undefined,
    make: () => Promise<T>,
  ): Promise<T> {
    const made = await make();
    if (claim !== undefined) await write(key, { state: 'done', build, digest: made.digest }, claim);
    return made;
  }
}

/**
 * Forgets results that are older: what they named is made again when it is asked for. `now`: milliseconds since 1970. Errors: the store's.
 */
export async function forgetResults(store: ObjectStore, olderThanMs: number, now: number): Promise<number> {
  let forgotten = 0;
  let startAfter: string | undefined;
  do {
    const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    for (const { key, modified } of page.objects) {
      if (now - modified.getTime() < olderThanMs) continue;
      await store.delete(key);
      forgotten += 1;
    }
    startAfter = page.next;
  } while (startAfter !== undefined);
  return forgotten;
}
