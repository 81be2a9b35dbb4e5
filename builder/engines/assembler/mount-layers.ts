import type { Descriptor } from '../../../oci/descriptor.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { PlannedBase } from '../../plan/plan.ts';
import { readingBase } from '../base-image-gone.ts';
import { hasBlob } from './push-layer.ts';

export interface MountResult {
  readonly mountedLayers: number;
  readonly mountedBytes: number;
  /** Copied because the registry could not mount. */
  readonly copiedLayers: number;
  readonly copiedBytes: number;
}

/**
 * Makes the base's layers readable in `repository`, without moving them where the registry can mount.
 * Errors: BaseImageGone when one is not there (any more).
 */
export async function mountLayers(
  registry: Registry,
  repository: string,
  layers: readonly Descriptor[],
  base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
): Promise<MountResult> {
  const outcomes = await Promise.all(
    layers.map(async (layer) => {
      if (await registry.mountBlob(repository, layer.digest, base.repository))
        return { layer, copied: false };
      if (await hasBlob(registry, repository, layer.digest)) return { layer, copied: false };
      const { body } = await readingBase(base, () => registry.getBlob(base.repository, layer.digest));
      await registry.putBlob(repository, layer.digest, body, { length: layer.size });
      return { layer, copied: true };
    }),
  );
  const sum = (copied: boolean) => outcomes.filter((outcome) => outcome.copied === copied);
  const bytes = (list: typeof outcomes) => list.reduce((total, { layer }) => total + layer.size, 0);
  return {
    mountedLayers: sum(false).length,
    mountedBytes: bytes(sum(false)),
    copiedLayers: sum(true).length,
    copiedBytes: bytes(sum(true)),
  };
}
