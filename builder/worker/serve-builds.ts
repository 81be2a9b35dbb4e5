import type { JsonValue } from '../../core/object-store/object-store.ts';
import { LeaseLost } from '../../core/queue/job-lease.ts';
import { JobCancelled, JobFailed, type JobHandler } from '../../core/queue/job-queue.ts';
import type { BuildLogWriter } from '../farm/build-log.ts';
import type { AbortCause, FromBuildProcess, ToBuildProcess } from './messages.ts';

/** The channel to the worker. */
export interface BuildChannel {
  /** `sent` is called when the message has left this process, or cannot. */
  send(message: FromBuildProcess, sent?: () => void): void;
}

/** A build's process, from its inside. */
export interface BuildServer {
  /** The log of the build that runs; the worker keeps it, so that no line is lost with this process. */
  openLog(): BuildLogWriter;
  publish(topic: string, message: JsonValue): void;
  /** Starts taking builds. */
  ready(handler: JobHandler): void;
  receive(message: ToBuildProcess): void;
}

/** Characters of a log that may wait for a worker that is too busy to take them. */
const mostWaiting = 16 * 1024 * 1024;

export function serveBuilds(channel: BuildChannel): BuildServer {
  let handler: JobHandler | undefined;
  let early: Extract<ToBuildProcess, { type: 'run' }> | undefined;
  let abort: AbortController | undefined;
  let asked = 0;
  const answers = new Map<number, (lost: string | undefined) => void>();

  function confirmLease(): Promise<void> {
    return new Promise((resolve, reject) => {
      asked += 1;
      answers.set(asked, (lost) => (lost === undefined ? resolve() : reject(new LeaseLost(lost))));
      channel.send({ type: 'confirm', number: asked });
    });
  }

  async function run(
    { job, fence }: Extract<ToBuildProcess, { type: 'run' }>,
    handle: JobHandler,
  ): Promise<void> {
    abort = new AbortController();
    try {
      const result = await handle(job, { signal: abort.signal, fence, confirmLease });
      channel.send({ type: 'done', result });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      channel.send({ type: 'failed', final: error instanceof JobFailed, message });
    }
  }

  return {
    openLog: () => createChannelLog(channel),
    publish: (topic, message) => channel.send({ type: 'event', topic, message }),
    ready(handle) {
      handler = handle;
      channel.send({ type: 'ready' });
      if (early !== undefined) void run(early, handle);
      early = undefined;
    },
    receive(message) {
      switch (message.type) {
        case 'run':
          if (handler === undefined) early = message;
          else void run(message, handler);
          break;
        case 'abort':
          abort?.abort(new errors[message.cause](message.reason));
          if (early === undefined) break;
          early = undefined;
          channel.send({ type: 'failed', final: false, message: message.reason });
          break;
        case 'confirmed':
          answers.get(message.number)?.(message.lost);
          answers.delete(message.number);
          break;
        case 'stop':
          break;
      }
    },
  };
}

const errors: Record<AbortCause, new (message: string) => Error> = {
  cancelled: JobCancelled,
  lost: LeaseLost,
  other: Error,
};

/** Lines of one turn travel together. */
function createChannelLog(channel: BuildChannel): BuildLogWriter {
  let texts: string[] = [];
  let waiting = 0;
  let dropped = 0;
  let sending = false;

  function flush(): void {
    sending = false;
    if (dropped > 0 && waiting < mostWaiting) {
      texts.push(`… ${dropped} lines are left out: they came faster than they could be kept …`);
      dropped = 0;
    }
    if (texts.length === 0) return;
    const size = texts.reduce((sum, text) => sum + text.length, 0);
    channel.send({ type: 'log', texts }, () => {
      waiting -= size;
    });
    texts = [];
  }

  return {
    line(text) {
      if (waiting >= mostWaiting) dropped += 1;
      else {
        waiting += text.length;
        texts.push(text);
      }
      if (sending) return;
      sending = true;
      setImmediate(flush);
    },
    close({ end }) {
      flush();
      channel.send({ type: 'log-end', end });
      return Promise.resolve();
    },
  };
}
