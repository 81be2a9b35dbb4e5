import type { ChildProcess } from 'node:child_process';
import type { JsonValue } from '../../core/object-store/object-store.ts';
import { LeaseLost } from '../../core/queue/job-lease.ts';
import { JobCancelled, type JobContext, JobFailed, type JobRecord } from '../../core/queue/job-queue.ts';
import type { AbortCause, FromBuildProcess, ToBuildProcess } from './messages.ts';

/** The process of a build ended under it, or never came up: a fault of the farm, never the commit's. */
export class BuildProcessDied extends Error {
  override readonly name = 'BuildProcessDied';
}

/** What a build hands on while it runs. */
export interface BuildOutput {
  readonly lines: (texts: readonly string[]) => void;
  /** The build's log is complete; `end`: so is the build. */
  readonly logEnd: (end: boolean) => void;
}

/** A warm process that runs builds, one at a time, as its worker sees it. */
export interface BuildProcess {
  readonly pid: number | undefined;
  /** Resolves with how it ended, in words. */
  readonly ended: Promise<string>;
  /** Errors: JobFailed, BuildProcessDied, and what the build threw, by its message. */
  run(
    job: JobRecord,
    context: JobContext,
    output: BuildOutput,
  ): Promise<{ readonly [name: string]: JsonValue }>;
  /** Asks it to end, and ends it after `stopMs`. */
  stop(): Promise<void>;
}

export interface BuildProcessOptions {
  /** With a channel (`fork`), and started just now. */
  readonly child: ChildProcess;
  /** Milliseconds that an aborted build has to end by itself. */
  readonly graceMs: number;
  /** Milliseconds that a process which was asked to end has for it. */
  readonly stopMs: number;
  /** MiB, for the message. */
  readonly heap: number;
  /** Wake-ups and live lines for other processes. */
  readonly publish: (topic: string, message: JsonValue) => void;
}

interface Run {
  readonly context: JobContext;
  readonly output: BuildOutput;
  readonly resolve: (result: { readonly [name: string]: JsonValue }) => void;
  readonly reject: (error: Error) => void;
}

export function createBuildProcess(options: BuildProcessOptions): BuildProcess {
  const { child, heap } = options;
  let run: Run | undefined;
  let killedBecause: string | undefined;
  let over: string | undefined;
  let unable: string | undefined;
  let ready = false;

  const send = (message: ToBuildProcess): void => {
    if (child.connected) child.send(message, () => {});
  };
  const kill = (why: string): void => {
    killedBecause ??= why;
    child.kill('SIGKILL');
  };
  const settle = (): Run | undefined => {
    const ended = run;
    run = undefined;
    return ended;
  };

  const receive = (message: FromBuildProcess): void => {
    switch (message.type) {
      case 'ready':
        ready = true;
        break;
      case 'unable':
        unable = message.reason;
        break;
      case 'log':
        run?.output.lines(message.texts);
        break;
      case 'log-end':
        run?.output.logEnd(message.end);
        break;
      case 'event':
        options.publish(message.topic, message.message);
        break;
      case 'confirm':
        void confirm(message.number);
        break;
      case 'done':
        settle()?.resolve(message.result);
        break;
      case 'failed':
        settle()?.reject(message.final ? new JobFailed(message.message) : new Error(message.message));
        break;
    }
  };
  async function confirm(number: number): Promise<void> {
    try {
      await run?.context.confirmLease();
      send({ type: 'confirmed', number });
    } catch (error) {
      send({ type: 'confirmed', number, lost: (error as Error).message });
    }
  }

  const ended = new Promise<string>((resolve) => {
    // What it said last may come after the news of its end, and the channel closes behind that.
    let waiting = child.connected ? 2 : 1;
    let how = 'it could not be started';
    const end = (): void => {
      waiting -= 1;
      if (waiting > 0) return;
      over = unable ?? killedBecause ?? how;
      settle()?.reject(new BuildProcessDied(`the build's own process ended: ${over}`));
      resolve(over);
    };
    child.once('error', (error) => {
      // Of a kill or of a message it is no news: the end comes by itself.
      if (child.pid !== undefined) return;
      how = error.message;
      waiting = 1;
      end();
    });
    child.once('exit', (code, signal) => {
      how = describeEnd(code, signal, heap);
      end();
    });
    child.once('disconnect', () => {
      end();
      // Nobody can reach it any more, whatever it does.
      if (child.exitCode === null && child.signalCode === null) {
        setTimeout(() => child.kill('SIGKILL'), options.stopMs).unref();
      }
    });
  });
  child.on('message', receive);

  return {
    get pid() {
      return child.pid;
    },
    ended,
    async run(job, context, output) {
      const { signal } = context;
      signal.throwIfAborted();
      if (over !== undefined) throw new BuildProcessDied(`the build's own process ended: ${over}`);
      let grace: NodeJS.Timeout | undefined;
      const abort = (): void => {
        const error = signal.reason as Error;
        send({ type: 'abort', cause: causeOf(error), reason: error.message });
        grace = setTimeout(() => kill('it did not stop when asked, and was killed'), options.graceMs);
      };
      try {
        return await new Promise((resolve, reject) => {
          run = { context, output, resolve, reject };
          send({ type: 'run', job, fence: context.fence });
          signal.addEventListener('abort', abort, { once: true });
        });
      } finally {
        clearTimeout(grace);
        signal.removeEventListener('abort', abort);
      }
    },
    async stop() {
      // One that is still starting has nothing to end.
      if (!ready) child.kill('SIGKILL');
      send({ type: 'stop' });
      const late = setTimeout(() => child.kill('SIGKILL'), options.stopMs);
      await ended;
      clearTimeout(late);
    },
  };
}

function causeOf(error: Error): AbortCause {
  if (error instanceof JobCancelled) return 'cancelled';
  return error instanceof LeaseLost ? 'lost' : 'other';
}

function describeEnd(code: number | null, signal: NodeJS.Signals | null, heap: number): string {
  // V8 ends a process that needs more heap than it may have by this signal.
  if (signal === 'SIGABRT')
    return `it was ended by SIGABRT, most likely as it needed more than ${heap} MiB of heap`;
  if (signal === 'SIGKILL') return 'it was killed (SIGKILL), perhaps because this machine had no memory left';
  return signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
}
