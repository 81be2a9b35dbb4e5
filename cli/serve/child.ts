import { flushCompileCache } from 'node:module';
import { createEventBus } from '../../core/events.ts';
import { reportFailure } from '../../core/process.ts';
import type { FromChild, ServeOptions, ToChild } from './messages.ts';

// The start of every child of `brickyard serve`: waits for the supervisor's word, starts its part, and ends when told to or when the
// supervisor is gone.
const kind = process.argv[2] === 'worker' ? 'worker' : 'http';
const send = (message: FromChild): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};
const events = createEventBus((topic, message) => send({ type: 'event', topic, message }));
let running: Promise<{ close(): Promise<void> } | undefined> | undefined;

const ready = (port?: number): void => {
  send(port === undefined ? { type: 'ready' } : { type: 'ready', port });
  // A server may run for months and end by a kill: what was compiled is kept now.
  flushCompileCache();
};

const start = async (options: ServeOptions): Promise<{ close(): Promise<void> } | undefined> => {
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

const stop = async (): Promise<void> => {
  try {
    await (await running)?.close();
  } finally {
    process.exit(0);
  }
};

// The terminal sends Ctrl-C to the whole group; only the supervisor decides when its children stop.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('disconnect', () => void stop());
process.on('message', (message: ToChild) => {
  switch (message.type) {
    case 'start':
      running = start(message.options);
      break;
    case 'event':
      events.deliver(message.topic, message.message);
      break;
    case 'stop':
      void stop();
      break;
  }
});
