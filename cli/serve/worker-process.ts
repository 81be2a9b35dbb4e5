import type { EventBus } from '../../core/events.ts';
import type { ServeOptions } from './messages.ts';
import { createParts } from './parts.ts';

/** The process that runs builds, and what must happen now and then on this machine. */
export async function startWorkerProcess(
  options: ServeOptions,
  _events: EventBus,
): Promise<{ close(): Promise<void> }> {
  const parts = await createParts(options);
  return { close: () => parts.close() };
}
