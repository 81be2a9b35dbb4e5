import { createTagRecords } from '../../builder/farm/tag-records.ts';
import { createPropagation, type Propagation } from '../../builder/propagate/propagation.ts';
import { defaultPropagation, type PropagationSettings } from '../../builder/propagate/settings.ts';
import { createEventBus } from '../../core/events.ts';
import { createSilentLogger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createEmbeddedQueue } from '../../core/queue/embedded.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';
import { createStoredRegistry } from '../../registry/stored-registry.ts';
import { pushStackedImage, type StackedImage } from './stacked-image.ts';

export const contract = { 'org.brickyard.base.abi': 'debian12', 'org.brickyard.base.rebase': 'compatible' };

/** Waves over a store, with a lease that a dead worker loses soon. */
export function openPropagation(
  store: ObjectStore,
  settings: Partial<PropagationSettings> = {},
  between: (registry: Registry) => Registry = (registry) => registry,
  now: () => number = Date.now,
): { propagation: Propagation; registry: Registry } {
  const events = createEventBus();
  const registry = between(createStoredRegistry({ store }));
  const builds = createEmbeddedQueue({ store, prefix: 'builds/', events, owner: 'test' });
  const propagation = createPropagation({
    store,
    registry,
    events,
    log: createSilentLogger(),
    builds,
    settings: { ...defaultPropagation, ...settings },
    now,
    queue: { leaseMs: 1000, pollMs: 50, retryMs: 10 },
  });
  return { propagation, registry };
}

export function pushBase(
  registry: Registry,
  generation: number,
  changes: Partial<StackedImage> = {},
): Promise<Digest> {
  return pushStackedImage(
    registry,
    'baseimages/jdk',
    { layers: [`debian ${generation}`, `jdk ${generation}`], annotations: contract, ...changes },
    ['17', `17.${generation}-0000000${generation}`],
  );
}

/** An app's image as a build leaves it, without the build. */
export async function pushApp(
  store: ObjectStore,
  registry: Registry,
  name: string,
  base: Digest,
  changes: Pick<StackedImage, 'annotations'> = {},
): Promise<Digest> {
  const digest = await pushStackedImage(
    registry,
    name,
    {
      layers: ['debian 1', 'jdk 1', `app ${name}`],
      annotations: {
        'org.opencontainers.image.base.name': 'baseimages/jdk:17',
        'org.opencontainers.image.base.digest': base,
        'org.opencontainers.image.revision': '0123456789abcdef',
        'org.brickyard.base.layers': '2',
        ...changes.annotations,
      },
    },
    ['main', '0123456789ab'],
  );
  const wanted = { tag: 'main', source: `${name} refs/heads/main` };
  await createTagRecords(store).claim(
    name,
    wanted,
    { sequence: 1, digest, build: 'none' },
    async () => false,
  );
  return digest;
}
