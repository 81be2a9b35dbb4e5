import { JobFailed } from '../../../core/queue/job-queue.ts';
import { ContainerApiError } from './container-api.ts';
import type { DiskAmount, DiskUse } from './disk-use.ts';
import { limitText, type SandboxLimits } from './sandbox-limits.ts';

export interface DiskWatchOptions {
  readonly use: DiskUse;
  /** What was free before the build wrote anything. */
  readonly room: DiskAmount | undefined;
  readonly limits: Pick<SandboxLimits, 'disk' | 'files' | 'diskReserve'>;
  /** Milliseconds that only rise. Default: this process's own. */
  readonly now?: () => number;
}

/** `what` stands in the error, e.g. `the build commands`. */
export type DiskWatch = (what: string) => Promise<void>;

/** A file system whose others free as much as one build writes shows no growth, so now and then is looked anyway. */
const longestMilliseconds = 60_000;

/** An engine that counts for us looks at all volumes. */
const engineMilliseconds = 10_000;

/** Of all the time, looking takes at most about one part in this many. */
const idleFactor = 4;

/**
 * Asked every two seconds, says when a build has used more than its disk. Few file systems let an engine bound a volume. Looking at each file of a
 * large workspace would cost more than the build, so that is done when the whole file system has grown by half of what the build has left.
 * Errors, when asked: JobFailed over the limit; ContainerApiError when the disk itself is nearly full; those of `use`.
 */
export function createDiskWatch(options: DiskWatchOptions): DiskWatch {
  const { use, limits, now = () => performance.now() } = options;
  let seen = { bytes: 0, files: 0, room: options.room, at: now(), cost: 0 };

  /** Nothing that happened on the disk since `seen` can have brought the build over a limit. */
  function isQuiet(room: DiskAmount): boolean {
    const { bytes, files, at } = seen;
    const before = seen.room ?? room;
    return (
      now() - at < longestMilliseconds &&
      before.bytes - room.bytes < (limits.disk - bytes) / 2 &&
      before.files - room.files < (limits.files - files) / 2
    );
  }

  return async (what) => {
    const room = await use.room();
    if (room !== undefined && room.bytes < limits.diskReserve) {
      throw new ContainerApiError(
        `the container engine's disk has less than ${limitText(limits.diskReserve)} left`,
      );
    }
    if (room !== undefined && isQuiet(room)) return;
    const begun = now();
    const pause = Math.max(seen.cost * idleFactor, room === undefined ? engineMilliseconds : 0);
    if (begun - seen.at < pause) return;
    const found = await use.measure();
    if (found === undefined) return;
    const { bytes, files = 0 } = found;
    seen = { bytes, files, room, at: now(), cost: now() - begun };
    if (bytes > limits.disk) {
      throw new JobFailed(`${what} used more than ${limitText(limits.disk)} of disk (builder.sandbox.disk)`);
    }
    if (files > limits.files) {
      throw new JobFailed(
        `${what} made more than ${limits.files} files and directories (builder.sandbox.files)`,
      );
    }
  };
}
