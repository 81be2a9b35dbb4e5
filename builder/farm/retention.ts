import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createJobArchive, type JobArchive } from '../../core/queue/job-archive.ts';
import type { JobRecord } from '../../core/queue/job-queue.ts';
import { timeOfId } from '../git/time-ordered-id.ts';
import { type BuildRequest, parseBuildRequest, repositoryOf } from './build-request.ts';

/** How long builds and what belongs to them stay. Days; 0 = for ever. */
export interface RetentionSettings {
  /** Logs. */
  readonly logs: number;
  /** Records, with all that belongs to them. */
  readonly builds: number;
  /** What the tests of builds left for people. */
  readonly artifacts: number;
  /** Builds of one git repository; 0 = any number. */
  readonly perApp: number;
}

export interface RetentionReport {
  readonly builds: number;
  /** Whose log was removed, and whose artifacts; without those of `builds`. */
  readonly logs: number;
  readonly artifacts: number;
  /** Records that cannot be read; they stay. */
  readonly damaged: number;
}

export interface RetentionDeps {
  readonly store: ObjectStore;
  readonly log: Pick<Logger, 'warn'>;
  /** Undefined: the ref is gone, so its newest build is no better than others. Errors: ObjectStoreUnavailable. */
  readonly resolveRef: (team: string, app: string, ref: string) => Promise<unknown>;
  readonly settings: RetentionSettings;
  /** Between two looks at the store, so that nobody waits for it; default none. */
  readonly pause?: () => Promise<unknown>;
}

const dayMs = 24 * 60 * 60 * 1000;
/** A place in the order without a job: `add` writes it a moment before the record. */
const orphanMs = dayMs;
/** What lies in the store for each build, by its id. */
const logsPrefix = 'logs/';
const artifactsPrefix = 'artifacts/';
const detailPrefix = 'builds-detail/';

/**
 * Removes what is older than people want to keep. What waits or runs stays, and the newest build of each branch and tag with all that belongs to it:
 * it says where the image that is used today came from. Repeating it, or two at once, do no harm.
 * `now`: milliseconds since 1970, by the store's clock. Errors: ObjectStoreUnavailable.
 */
export async function removeOldBuilds(
  deps: RetentionDeps,
  now: number,
  signal: AbortSignal,
): Promise<RetentionReport> {
  const { store, settings, pause = async () => {} } = deps;
  const archive = createJobArchive(store, 'builds/');
  const report = { builds: 0, logs: 0, artifacts: 0, damaged: 0 };
  /** Builds of which nothing is removed. */
  const kept = new Set<string>();
  const refs = new Set<string>();
  const perApp = new Map<string, number>();
  for await (const jobs of archive.walk()) {
    if (signal.aborted) return report;
    for (const { id, job, damaged } of jobs) {
      if (damaged !== undefined) {
        deps.log.warn({ err: damaged, build: id }, 'the record of a build cannot be read');
        report.damaged++;
        kept.add(id);
      } else if (job === undefined) {
        if (now - (timeOfId(id) ?? now) > orphanMs) await remove(store, archive, id);
      } else if (await staysWhole(job)) kept.add(id);
      else if (isOverdue(job)) {
        await remove(store, archive, id);
        report.builds++;
      }
    }
    await pause();
  }
  report.logs = await removeParts(logsPrefix, settings.logs);
  report.artifacts = await removeParts(artifactsPrefix, settings.artifacts);
  await removeParts(detailPrefix, settings.builds);
  return report;

  /** Newest first, so the first of a ref is its newest. */
  async function staysWhole(job: JobRecord): Promise<boolean> {
    const request = parseBuildRequest(job.payload);
    const repository = repositoryOf(request);
    const number = (perApp.get(repository) ?? 0) + 1;
    perApp.set(repository, number);
    const ref = `${repository} ${request.ref}`;
    const newest = !refs.has(ref);
    refs.add(ref);
    if (job.finishedAt === undefined) return true;
    return newest && (await isKeptRef(deps, request));
  }

  function isOverdue(job: JobRecord): boolean {
    const number = perApp.get(repositoryOf(parseBuildRequest(job.payload))) ?? 0;
    if (settings.perApp > 0 && number > settings.perApp) return true;
    return isOlder(Date.parse(job.finishedAt ?? job.createdAt), settings.builds);
  }

  function isOlder(time: number, days: number): boolean {
    return days > 0 && now - time > days * dayMs;
  }

  /** Ids sort by time, so the old ones come first. */
  async function removeParts(prefix: string, days: number): Promise<number> {
    let removed = 0;
    let startAfter: string | undefined;
    do {
      const page = await store.list({
        prefix,
        delimiter: '/',
        ...(startAfter === undefined ? {} : { startAfter }),
      });
      for (const found of page.prefixes) {
        const id = found.slice(prefix.length, -1);
        const time = timeOfId(id);
        if (time === undefined || kept.has(id)) continue;
        if (signal.aborted || !isOlder(time, days)) return removed;
        await removeAll(store, found);
        removed++;
        await pause();
      }
      startAfter = page.next;
    } while (startAfter !== undefined);
    return removed;
  }
}

/** A working tree that somebody sent has a ref of its own each time, which nobody pushes to again. */
async function isKeptRef({ resolveRef }: RetentionDeps, { team, app, ref }: BuildRequest): Promise<boolean> {
  return !ref.startsWith('refs/brickyard/') && (await resolveRef(team, app, ref)) !== undefined;
}

/** The place in the order goes last: whoever dies before leaves something that is found again. */
async function remove(store: ObjectStore, archive: JobArchive, id: string): Promise<void> {
  for (const prefix of [logsPrefix, artifactsPrefix, detailPrefix]) await removeAll(store, `${prefix}${id}/`);
  await archive.forget(id);
}

async function removeAll(store: ObjectStore, prefix: string): Promise<void> {
  for (;;) {
    const page = await store.list({ prefix });
    await store.deleteMany(page.objects.map(({ key }) => key));
    if (page.next === undefined) return;
  }
}
