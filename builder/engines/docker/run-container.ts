import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { Masker } from '../../secrets/masker.ts';
import type { ContainerApi, ContainerEnd } from './container-api.ts';
import { logLines } from './log-lines.ts';

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
  /** Asked every `watchMilliseconds` while it runs; an error that it throws kills the container and is the error of the run. */
  readonly watch?: () => Promise<void>;
}

/** How long a killed container may take to end. */
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
  let giveUp: NodeJS.Timeout | undefined;
  const kill = (reason: Error): void => {
    if (killed !== undefined) return;
    killed = reason;
    // An engine that no longer answers must not hold the build: the read below ends without it.
    giveUp = setTimeout(() => output.destroy(), killMilliseconds);
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
  try {
    if (signal.aborted) throw toError(signal.reason);
    await api.startContainer(container);
    let size = 0;
    for await (const line of logLines(output, options.masker)) {
      size += line.length + 1;
      if (size > options.logSize) {
        kill(new JobFailed(`${what} wrote more than ${options.logSize} bytes of output`));
        break;
      }
      options.onLine(line);
    }
    await api.waitContainer(container, AbortSignal.timeout(4 * killMilliseconds));
    if (killed !== undefined) throw killed;
    return await api.containerEnd(container);
  } catch (error) {
    throw killed ?? error;
  } finally {
    clearTimeout(timer);
    clearTimeout(giveUp);
    signal.removeEventListener('abort', abort);
    output.destroy();
    await watching.end();
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
