import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { engineFolder } from '../../builder/engines/docker.ts';
import type { GitHost } from '../../builder/git/git-host.ts';
import { createDiskGuard } from '../../builder/worker/disk-guard.ts';
import type { Logger } from '../../core/log.ts';
import type { JobWorker } from '../../core/queue/job-queue.ts';

export interface DiskWatch {
  /** Looks at the disks now and again and again from then on. */
  start(worker: Pick<JobWorker, 'setSlots'>): void;
  close(): void;
}

const lookEveryMs = 10_000;
/** An engine that hangs must not keep the other disks from being looked at. Milliseconds. */
const engineMs = 5000;

/** Lets a worker take builds only while its disks have room: those of the caches, of temporary files, and of the container engine. */
export function watchDisk(options: {
  readonly cacheDir: string;
  /** As in the configuration. */
  readonly engine: string;
  readonly low: number;
  readonly high: number;
  readonly concurrency: number;
  readonly git: Pick<GitHost, 'clearCache'>;
  readonly log: Logger;
}): DiskWatch {
  const { log, concurrency } = options;
  let engine: string | undefined;
  const guard = createDiskGuard({
    ...options,
    async folders() {
      // Asked again until one answers: engines are started later, too.
      engine ??= await Promise.race([
        engineFolder(options.engine).catch(() => undefined),
        delay(engineMs, undefined, { ref: false }),
      ]);
      return [options.cacheDir, tmpdir(), ...(engine === undefined ? [] : [engine])];
    },
    clear: (enough) => options.git.clearCache(enough),
  });
  let refused: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function look(worker: Pick<JobWorker, 'setSlots'>): Promise<void> {
    try {
      const reason = await guard.check();
      if (closed) return;
      if (reason !== undefined && refused === undefined) log.warn({ reason }, 'no builds are taken');
      if (reason === undefined && refused !== undefined) log.info({}, 'builds are taken again');
      if (reason !== undefined) worker.setSlots(0, reason);
      else if (refused !== undefined) worker.setSlots(concurrency);
      refused = reason;
    } catch (error) {
      // Not knowing is no reason to stop: a full disk shows itself.
      log.warn({ err: error }, 'free space cannot be looked at');
    }
    if (!closed) timer = setTimeout(() => void look(worker), lookEveryMs);
  }

  return {
    start: (worker) => void look(worker),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
