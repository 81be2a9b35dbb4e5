import type { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { Masker } from '../../secrets/masker.ts';
import { type ContainerApi, ContainerApiError, type ContainerEnd } from './container-api.ts';
import { logLines } from './log-lines.ts';
import { limitText } from './sandbox-limits.ts';

export interface RunOptions {
  readonly api: ContainerApi;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Stands in the messages, e.g. `the build commands`. */
  readonly what: string;
  readonly timeoutSeconds: number;
  /** The key that sets the limit of time, for the message. */
  readonly timeoutKey: string;
  /** Bytes of output; a container that writes more is killed. */
  readonly logSize: number;
  readonly onLine: (line: string) => void;
  /** Takes secrets out of the lines. */
  readonly masker?: Masker | undefined;
  /** Asked every two seconds while it runs and once at its end; an error that it throws kills the container and is the error of the run. */
  readonly watch?: () => Promise<void>;
}

/** How long a killed container may take to end, and how long the output of an ended one may stay open. */
const killMilliseconds = 15_000;

const watchMilliseconds = 2_000;

/**
 * Starts a container that was created and follows it to its end. When it takes too long, writes too much or `signal` fires, all of its processes are
 * killed first. Errors: JobFailed for limits, the signal's reason, ContainerApiError. The exit code is the caller's to judge.
 */
export async function runContainer(container: string, options: RunOptions): Promise<ContainerEnd> {
  const { api, log, signal, what, timeoutSeconds } = options;
  // Attached before the start, so that no line is missed.
  const output = await api.attach(container);
  let killed: Error | undefined;
  let started = false;
  let giveUp: NodeJS.Timeout | undefined;
  const kill = (reason: Error): void => {
    if (killed !== undefined) return;
    killed = reason;
    // An engine that no longer answers must not hold the build: the read below ends without it.
    giveUp ??= setTimeout(() => output.destroy(), killMilliseconds);
    // What has not been started yet cannot be killed.
    if (started) sendKill();
  };
  const sendKill = (): void => {
    api.killContainer(container).catch((error: unknown) => {
      log.warn({ err: error, container }, 'a sandbox could not be killed');
      // Ends the read below; removing the container by force follows.
      output.destroy();
    });
  };
  const abort = (): void => kill(toError(signal.reason));
  const timer = setTimeout(
    () => kill(new JobFailed(`${what} took longer than ${timeoutSeconds} s (${options.timeoutKey})`)),
    timeoutSeconds * 1000,
  );
  signal.addEventListener('abort', abort, { once: true });
  const watching = watchRun(options, kill);
  const waiting = new AbortController();
  try {
    if (signal.aborted) throw toError(signal.reason);
    await api.startContainer(container);
    started = true;
    // The signal may have come while it started.
    if (killed !== undefined) sendKill();
    const ended = api.waitContainer(container, waiting.signal);
    let over = false;
    ended.then(
      () => {
        over = true;
        // Whatever holds the output of a container whose processes are all gone is no part of the build.
        giveUp ??= setTimeout(() => output.destroy(), killMilliseconds);
      },
      () => {},
    );
    try {
      const enough = await readLines(output, options);
      if (!enough) kill(tooMuchOutput(options));
    } catch (error) {
      if (!over) throw error;
    }
    await answered(ended);
    if (killed !== undefined) throw killed;
    await options.watch?.();
    return await api.containerEnd(container);
  } catch (error) {
    throw killed ?? error;
  } finally {
    clearTimeout(timer);
    clearTimeout(giveUp);
    waiting.abort();
    signal.removeEventListener('abort', abort);
    output.destroy();
    await watching.end();
  }
}

/** False: there is more than the limit, and the rest was not read. */
async function readLines(output: Readable, { logSize, masker, onLine }: RunOptions): Promise<boolean> {
  let size = 0;
  for await (const line of logLines(output, masker)) {
    size += line.length + 1;
    if (size > logSize) return false;
    onLine(line);
  }
  return true;
}

function tooMuchOutput({ what, logSize }: RunOptions): JobFailed {
  return new JobFailed(`${what} wrote more than ${limitText(logSize)} of output (builder.sandbox.output)`);
}

/** Its output is at its end, so it has ended or is about to. Errors: ContainerApiError when the engine does not say so in time. */
async function answered(ended: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const seconds = (4 * killMilliseconds) / 1000;
    const error = new ContainerApiError(`the container engine does not answer: no end within ${seconds} s`);
    timer = setTimeout(() => reject(error), seconds * 1000);
  });
  try {
    await Promise.race([ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks one time after another, never twice at once. */
function watchRun(options: RunOptions, kill: (reason: Error) => void): { end(): Promise<void> } {
  const { watch } = options;
  if (watch === undefined) return { end: async () => {} };
  let asking: Promise<void> | undefined;
  const timer = setInterval(() => {
    asking ??= watch()
      .catch((error: unknown) => kill(toError(error)))
      .finally(() => {
        asking = undefined;
      });
  }, watchMilliseconds);
  return {
    async end() {
      clearInterval(timer);
      await asking;
    },
  };
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
