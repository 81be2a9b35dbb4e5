import { flushCompileCache } from 'node:module';
import { createEventBus } from '../../core/events.ts';
import { reportFailure } from '../../core/process.ts';
import type { FromChild, ServeOptions, ToChild } from './messages.ts';

// The start of every child of `brickyard serve`: waits for the supervisor's word, starts its part, and ends when told to or when the
// supervisor is gone.
const kind = process.argv[2] === 'worker' ? 'worker' : 'http';
/** What this process is for. */
interface Part {
  close(): Promise<void>;
  /** Makes `close` wait for nothing that can be done again. */
  hurry?(): void;
}

const send = (message: FromChild): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};
const events = createEventBus((topic, message) => send({ type: 'event', topic, message }));
let running: Promise<Part | undefined> | undefined;

const ready = (port?: number): void => {
  send(port === undefined ? { type: 'ready' } : { type: 'ready', port });
  // A server may run for months and end by a kill: what was compiled is kept now.
  flushCompileCache();
};

const start = async (options: ServeOptions): Promise<Part | undefined> => {
  try {
    // Each kind loads only what it runs: code costs memory in every process.
    if (kind === 'worker') {
      const { startWorkerProcess } = await import('./worker-process.ts');
      const worker = await startWorkerProcess(options, events);
      ready();
      return worker;
    }
    const { startHttpProcess } = await import('./http-process.ts');
    const http = await startHttpProcess(options, events);
    ready(http.port);
    return http;
  } catch (error) {
    let text = '';
    const exitCode = reportFailure(error, (line) => {
      text += line;
    });
    send({ type: 'failed', text: text.replace(/^brickyard: /, '').trimEnd(), exitCode });
    return undefined;
  }
};

const stop = async (now: boolean): Promise<void> => {
  try {
    const part = await running;
    if (now) part?.hurry?.();
    await part?.close();
  } finally {
    process.exit(0);
  }
};

// The terminal sends Ctrl-C to the whole group; only the supervisor decides when its children stop.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('disconnect', () => void stop(true));
process.on('message', (message: ToChild) => {
  switch (message.type) {
    case 'start':
      running = start(message.options);
      break;
    case 'event':
      events.deliver(message.topic, message.message);
      break;
    case 'stop':
      void stop(message.now ?? false);
      break;
  }
});
