import type { JsonValue } from './object-store/object-store.ts';

/**
 * Wake-ups and live lines between the parts of one service, in whatever process they run. Best effort: a message may be
 * lost when a process dies, so nothing may depend on it but speed. Truth is in the object store.
 */
export interface EventBus {
  publish(topic: string, message: JsonValue): void;
  /** `handler` is called for every message on exactly this topic, the publisher's own included. Returns how to stop. */
  subscribe(topic: string, handler: (message: JsonValue) => void): () => void;
}

/** Carries what is published on this machine to the others. Best effort, as the bus: it may drop what it cannot get rid of at once. */
export interface EventRelay {
  /** Never waits and never throws. */
  publish(topic: string, message: JsonValue): void;
  close(): Promise<void>;
}

/** Within one process. `forward` sees every message that was published here, to carry it to other processes. */
export function createEventBus(forward: (topic: string, message: JsonValue) => void = () => {}): EventBus & {
  /** A message that came from another process. */ deliver(topic: string, message: JsonValue): void;
} {
  const handlers = new Map<string, Set<(message: JsonValue) => void>>();
  const deliver = (topic: string, message: JsonValue): void => {
    for (const handler of handlers.get(topic) ?? []) handler(message);
  };
  return {
    publish(topic, message) {
      deliver(topic, message);
      forward(topic, message);
    },
    subscribe(topic, handler) {
      const set = handlers.get(topic) ?? new Set();
      handlers.set(topic, set.add(handler));
      return () => {
        set.delete(handler);
        if (set.size === 0 && handlers.get(topic) === set) handlers.delete(topic);
      };
    },
    deliver,
  };
}
