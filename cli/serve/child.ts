import { createEventBus } from '../../core/events.ts';
import { reportFailure } from '../../core/process.ts';
import type { FromChild, ToChild } from './messages.ts';
import { startHttpProcess } from './http-process.ts';
import { startWorkerProcess } from './worker-process.ts';

// The start of every child of `brickyard serve`: waits for the supervisor's word, starts its part, and ends when told to or when the
// supervisor is gone.
const kind = process.argv[2] === 'worker' ? 'worker' : 'http';
const send = (message: FromChild): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
};
const events = createEventBus((topic, message) => send({ type: 'event', topic, message }));
let running: Promise<{ close(): Promise<void> }> | undefined;

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
      running = kind === 'worker' ? startWorkerProcess(message.options, events) : startHttpProcess(message.options, events);
      running.then(
        (part) => send('port' in part ? { type: 'ready', port: part.port as number } : { type: 'ready' }),
        (error: unknown) => {
          let text = '';
          const exitCode = reportFailure(error, (line) => {
            text += line;
          });
          send({ type: 'failed', text: text.replace(/^brickyard: /, '').trimEnd(), exitCode });
        },
      );
      break;
    case 'event':
      events.deliver(message.topic, message.message);
      break;
    case 'stop':
      void stop();
      break;
  }
});
