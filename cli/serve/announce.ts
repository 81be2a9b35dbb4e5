import { type OriginEvent, originTopic } from '../../cache-proxy/controller/events.ts';
import type { EventBus } from '../../core/events.ts';
import type { Registry } from '../../oci/registry.ts';
import { announcing } from '../../registry/decorators/announcing.ts';

/** The registry whose changes every process of this service hears of, so that whichever one a pool listens to tells it. */
export function announced(registry: Registry, events: EventBus): Registry {
  return announcing(registry, (change) => events.publish(originTopic, { ...(change satisfies OriginEvent) }));
}
