import type { ChildProcess } from 'node:child_process';
import type { Logger } from '../../core/log.ts';
import type { JsonValue } from '../../core/object-store/object-store.ts';
import { JobCancelled, type JobHandler } from '../../core/queue/job-queue.ts';
import type { BuildLogWriter } from '../farm/build-log.ts';
import { type BuildProcess, BuildProcessDied, createBuildProcess } from './build-process.ts';

/** Runs each build in a process of its own, so that nothing a build does can hold up or end the worker or another build. */
export interface BuildPool {
  /** For the queue. Called for at most `concurrency` jobs at once. */
  readonly handler: JobHandler;
  /** Ends all of its processes; call it when no build runs any more. */
  close(): Promise<void>;
}

export interface BuildPoolOptions {
  /** Starts a process that calls `serveBuilds`, with a channel. */
  readonly fork: () => ChildProcess;
  /** Most builds, and so processes, at once. */
  readonly concurrency: number;
  /** MiB of heap that `fork` gives each of them. */
  readonly heap: number;
  readonly log: Logger;
  readonly openLog: (build: string, fence: number) => BuildLogWriter;
  /** Passes on what builds announce. */
  readonly publish: (topic: string, message: JsonValue) => void;
  /** Takes away what a build that was killed has left in the container engine. */
  readonly removeLeftovers: () => Promise<void>;
  /** Milliseconds that an aborted build has to end by itself. Default 3 s. */
  readonly graceMs?: number;
  /** Milliseconds after which a process that is not the last one is let go without work. Default 5 min. */
  readonly idleMs?: number;
}

/** A build that ends before is followed by the next one in the same process. Milliseconds. */
const forkAheadMs = 1000;
/** Processes that die as they start are not started thousands of times a minute. Milliseconds. */
const restMs = 1000;
const stopMs = 10_000;

export function createBuildPool(options: BuildPoolOptions): BuildPool {
  const { log, concurrency, idleMs = 300_000 } = options;
  const all = new Set<BuildProcess>();
  /** The one that worked last is the last: its caches are the warmest. */
  const idle: { readonly process: BuildProcess; readonly since: number }[] = [];
  const sweeps = new Set<Promise<void>>();
  let closed = false;
  /** A server that nobody builds with is spared the memory of a process that waits. */
  let used = false;
  let ahead: NodeJS.Timeout | undefined;

  function start(): BuildProcess {
    const { heap, publish, graceMs = 3000 } = options;
    const process = createBuildProcess({ child: options.fork(), graceMs, stopMs, heap, publish });
    all.add(process);
    void process.ended.then((how) => {
      all.delete(process);
      const at = idle.findIndex((entry) => entry.process === process);
      if (at >= 0) idle.splice(at, 1);
      if (closed) return;
      if (at >= 0) log.warn({ how }, 'a process for builds ended before it was used');
      startAhead(restMs);
    });
    return process;
  }

  /** Keeps one process waiting for the next build, once there was one. */
  function startAhead(afterMs: number): void {
    ahead ??= setTimeout(() => {
      ahead = undefined;
      if (used && !closed && idle.length === 0 && all.size < concurrency) release(start());
    }, afterMs);
  }

  function take(): BuildProcess {
    used = true;
    const warm = idle.pop()?.process ?? start();
    if (idle.length === 0) startAhead(forkAheadMs);
    return warm;
  }

  function release(process: BuildProcess): void {
    if (!closed && all.has(process)) idle.push({ process, since: performance.now() });
  }

  const trim = setInterval(() => {
    const [oldest] = idle;
    if (oldest === undefined || idle.length < 2 || performance.now() - oldest.since < idleMs) return;
    idle.shift();
    void oldest.process.stop();
  }, idleMs / 5);
  trim.unref();

  function sweep(): void {
    const sweeping = options
      .removeLeftovers()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'what a killed build left behind could not be removed'),
      )
      .finally(() => sweeps.delete(sweeping));
    sweeps.add(sweeping);
  }

  return {
    async handler(job, context) {
      const writer = options.openLog(job.id, context.fence);
      let closing: Promise<void> | undefined;
      const end = (all: boolean): void => {
        closing ??= writer.close({ end: all });
      };
      const process = take();
      try {
        return await process.run(job, context, {
          lines(texts) {
            for (const text of texts) writer.line(text);
          },
          logEnd: end,
        });
      } catch (error) {
        if (error instanceof BuildProcessDied) {
          log.error({ err: error, build: job.id }, 'the process of a build ended');
          if (closing === undefined) {
            const cancelled = context.signal.reason instanceof JobCancelled;
            writer.line(cancelled ? '\n  ✗ stopped' : `\n  ! ${error.message}; the build is taken up again`);
            end(cancelled);
          }
          sweep();
        }
        throw error;
      } finally {
        release(process);
        end(false);
        await closing;
      }
    },
    async close() {
      closed = true;
      clearTimeout(ahead);
      clearInterval(trim);
      await Promise.all([...[...all].map((process) => process.stop()), ...sweeps]);
    },
  };
}
