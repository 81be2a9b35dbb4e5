import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { encodeImageConfig } from '../../oci/image-config.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import { imageContent } from '../plan/image-content.ts';
import { createLayerMaker, type MadeLayer } from './assembler/app-layers.ts';
import { createBaseImageReader } from './assembler/base-image.ts';
import { imageConfig, imageIndex, imageManifest } from './assembler/image-documents.ts';
import { createLayerCache } from './assembler/layer-cache.ts';
import { mountLayers } from './assembler/mount-layers.ts';
import { checkDirectory } from './assembler/path-policy.ts';
import type { BuildEngine, EngineContext, EngineInput, EngineResult } from './engine.ts';

export interface AssemblerOptions {
  readonly registry: Registry;
  /** Where to remember which files gave which layer; without it every build reads and compresses all of them. */
  readonly store?: ObjectStore;
  /**
   * Called when the manifest is in place and no tag is yet: returns the tags that may be set. A farm drops those that a newer build
   * has set in the meantime. Default: all of `EngineInput.tags`.
   */
  readonly beforeTags?: (input: EngineInput, manifest: Descriptor) => Promise<readonly string[]>;
}

/**
 * Makes images without an engine: base layers are mounted, the app's layers are written straight from git objects or from what the
 * sandbox handed out, and equal input gives equal digests. Errors: JobFailed for what no retry can heal, BaseImageGone, else those of the registry.
 */
export function createAssembler(options: AssemblerOptions): BuildEngine {
  const { registry } = options;
  const readBase = createBaseImageReader(registry);
  const makeLayers = createLayerMaker({
    registry,
    cache: options.store === undefined ? undefined : createLayerCache(options.store),
  });

  return {
    name: 'assembler',
    async build(input, context) {
      try {
        return await assemble(input, context);
      } finally {
        input.outputs?.destroy();
      }
    },
  };

  async function assemble(input: EngineInput, context: EngineContext): Promise<EngineResult> {
    const { plan } = input;
    checkDirectory(plan.directory);
    context.signal.throwIfAborted();
    const content = imageContent(plan);
    const bases = await Promise.all(
      plan.platforms === undefined
        ? [readBase(plan.base)]
        : plan.platforms.map((platform) => readBase(plan.base, platform)),
    );
    const baseLayers = new Map(bases.flatMap(({ layers }) => layers.map((layer) => [layer.digest, layer])));
    const [mounts, own] = await settled([
      mountLayers(registry, plan.repository, [...baseLayers.values()], plan.base),
      makeLayers(input, content, context.signal),
    ]);
    const images = bases.map((base) => ({
      base,
      config: encodeImageConfig(imageConfig(base.config, content, own)),
    }));
    const [stored] = await settled([
      storeAll(own),
      Promise.all(images.map(({ config }) => registry.putBlob(plan.repository, digestOf(config), config))),
    ]);
    const { annotations } = input;
    const manifests = await Promise.all(
      images.map(async ({ base, config }) => {
        const bytes = imageManifest({ plan, base, layers: own, config, annotations });
        return { base, bytes, descriptor: await putManifest(plan.repository, digestOf(bytes), bytes) };
      }),
    );
    const index = plan.platforms === undefined ? undefined : imageIndex({ plan, manifests, annotations });
    const bytes = index ?? (manifests[0] as { bytes: Buffer }).bytes;
    const mediaType = index === undefined ? mediaTypes.ociManifest : mediaTypes.ociIndex;
    const manifest =
      index === undefined
        ? (manifests[0] as { descriptor: Descriptor }).descriptor
        : await putManifest(plan.repository, digestOf(index), index, mediaType);
    context.signal.throwIfAborted();
    const tags = (await options.beforeTags?.(input, manifest)) ?? input.tags;
    for (const tag of tags) await putManifest(plan.repository, tag, bytes, mediaType);
    return {
      manifest,
      mountedBytes: mounts.mountedBytes,
      mountedLayers: mounts.mountedLayers,
      skippedBytes: stored.skippedBytes,
      skippedLayers: stored.skippedLayers,
      storedBytes: mounts.copiedBytes + stored.storedBytes,
      storedLayers: mounts.copiedLayers + stored.storedLayers,
    };
  }

  async function putManifest(
    repository: string,
    reference: Digest | string,
    bytes: Buffer,
    mediaType: string = mediaTypes.ociManifest,
  ): Promise<Descriptor> {
    const { descriptor } = await registry.putManifest(repository, reference, bytes, mediaType);
    return descriptor;
  }
}

async function storeAll(
  layers: readonly MadeLayer[],
): Promise<Pick<EngineResult, 'skippedBytes' | 'skippedLayers' | 'storedBytes' | 'storedLayers'>> {
  const outcomes = await Promise.allSettled(layers.map(({ store }) => store()));
  const sum = { skippedBytes: 0, skippedLayers: 0, storedBytes: 0, storedLayers: 0 };
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') throw outcome.reason;
    const size = layers[index]?.layer.size ?? 0;
    sum[outcome.value ? 'storedBytes' : 'skippedBytes'] += size;
    sum[outcome.value ? 'storedLayers' : 'skippedLayers'] += 1;
  }
  return sum;
}

/** Waits for both also when one fails, so that nothing goes on in the background after the build has ended. */
async function settled<A, B>(both: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(both);
  return Promise.all(both);
}
