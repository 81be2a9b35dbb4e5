import { createEventBus } from '../../core/events.ts';
import { reportFailure } from '../../core/process.ts';
import { startHttpProcess } from './http-process.ts';
import type { FromChild, ServeOptions, ToChild } from './messages.ts';
import { startWorkerProcess } from './worker-process.ts';

// The start of every child of `brickyard serve`: waits for the supervisor's word, starts its part, and ends when told to or when the
// supervisor is gone.
const kind = process.argv[2] === 'worker' ? 'worker' : 'http';
const send = (message: FromChild): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};
const events = createEventBus((topic, message) => send({ type: 'event', topic, message }));
let running: Promise<{ close(): Promise<void> } | undefined> | undefined;

const start = async (options: ServeOptions): Promise<{ close(): Promise<void> } | undefined> => {
  try {
    if (kind === 'worker') {
      const worker = await startWorkerProcess(options, events);
      send({ type: 'ready' });
      return worker;
    }
    const http = await startHttpProcess(options, events);
    send({ type: 'ready', port: http.port });
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
