import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { JobFailed } from '../../core/queue/job-queue.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { encodeImageConfig } from '../../oci/image-config.ts';
import { createContentSpool } from '../../oci/layer/content-spool.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import { type ImageContent, imageContent } from '../plan/image-content.ts';
import { imageSelection, selectSource } from '../plan/select-source.ts';
import type { SourceEntry } from '../plan/source-tree.ts';
import { appLayer, checkDirectory } from './assembler/app-layer.ts';
import { createBaseImageReader } from './assembler/base-image.ts';
import { generatedEntries } from './assembler/generated-entries.ts';
import { imageConfig, imageManifest } from './assembler/image-documents.ts';
import { createLayerCache, layerKey } from './assembler/layer-cache.ts';
import { mountLayers } from './assembler/mount-layers.ts';
import { readOutputs } from './assembler/output-entries.ts';
import { refuse } from './assembler/path-policy.ts';
import { hasBlob, type PushedLayer, pushLayer } from './assembler/push-layer.ts';
import type { BuildEngine, EngineContext, EngineInput, EngineResult } from './engine.ts';

export interface AssemblerOptions {
  readonly registry: Registry;
  /** Where to remember which tree gave which layer; without it every build reads its source. */
  readonly store?: ObjectStore;
  /**
   * Called when the manifest is in place and no tag is yet: returns the tags that may be set. A farm drops those that a newer build
   * has set in the meantime. Default: all of `EngineInput.tags`.
   */
  readonly beforeTags?: (input: EngineInput, manifest: Descriptor) => Promise<readonly string[]>;
}

/**
 * Makes images without an engine: base layers are mounted, the app's layer is written straight from git objects or from what the
 * sandbox handed out, and equal input gives equal digests. Errors: JobFailed for what no retry can heal, BaseImageGone, else those of the registry.
 */
export function createAssembler(options: AssemblerOptions): BuildEngine {
  const { registry } = options;
  const readBase = createBaseImageReader(registry);
  const cache = options.store === undefined ? undefined : createLayerCache(options.store);

  /** The app's layer, from the cache when the repository still has it. */
  async function makeLayer(
    input: EngineInput,
    content: ImageContent,
    signal: AbortSignal,
  ): Promise<PushedLayer> {
    const { plan } = input;
    // Outputs have no name before they are read, so only layers of a commit alone can be skipped unread.
    const key =
      input.outputs === undefined
        ? layerKey([input.source.key, imageSelection(plan), plan.directory, content.files, content.copies])
        : undefined;
    const known = key === undefined ? undefined : await cache?.get(key);
    if (known !== undefined && (await hasBlob(registry, plan.repository, known.digest))) {
      return { layer: known, store: async () => false };
    }
    const spool = createContentSpool();
    try {
      const outputs =
        input.outputs === undefined
          ? []
          : await readOutputs(input.outputs, { directory: plan.directory, spool });
      const { directory } = plan;
      const generated = await generatedEntries(content, input.source);
      const selected = await select(input);
      const entries = appLayer({ directory, generated, outputs, source: input.source, selected, spool });
      const made = await pushLayer(registry, plan.repository, entries, signal);
      return {
        layer: made.layer,
        async store() {
          const stored = await made.store();
          if (key !== undefined) await cache?.set(key, made.layer);
          return stored;
        },
      };
    } finally {
      await spool.close();
    }
  }

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
    const base = await readBase(plan.base);
    const [mounts, own] = await settled([
      mountLayers(registry, plan.repository, base.layers, plan.base),
      makeLayer(input, content, context.signal),
    ]);
    const config = encodeImageConfig(imageConfig(base.config, content, own.layer));
    const configDigest = digestOf(config);
    const [stored] = await settled([own.store(), registry.putBlob(plan.repository, configDigest, config)]);
    const bytes = imageManifest({ plan, base, layer: own.layer, config, annotations: input.annotations });
    const manifest = await putManifest(plan.repository, digestOf(bytes), bytes);
    context.signal.throwIfAborted();
    const tags = (await options.beforeTags?.(input, manifest)) ?? input.tags;
    for (const tag of tags) await putManifest(plan.repository, tag, bytes);
    return {
      manifest,
      mountedBytes: mounts.mountedBytes,
      mountedLayers: mounts.mountedLayers,
      skippedBytes: stored ? 0 : own.layer.size,
      skippedLayers: stored ? 0 : 1,
      storedBytes: mounts.copiedBytes + (stored ? own.layer.size : 0),
      storedLayers: mounts.copiedLayers + (stored ? 1 : 0),
    };
  }

  async function putManifest(
    repository: string,
    reference: Digest | string,
    bytes: Buffer,
  ): Promise<Descriptor> {
    const { descriptor } = await registry.putManifest(repository, reference, bytes, mediaTypes.ociManifest);
    return descriptor;
  }
}

/** Errors: JobFailed for paths that cannot enter an image and for a .dockerignore that cannot be understood. */
async function select(input: EngineInput): Promise<readonly SourceEntry[]> {
  const selection = imageSelection(input.plan);
  if (selection.include.length === 0) return [];
  const entries = await input.source.entries();
  const dockerignore = await input.source.readFile('.dockerignore', 65_536);
  let selected: ReturnType<typeof selectSource>;
  try {
    selected = selectSource(entries, selection, dockerignore?.toString());
  } catch (error) {
    if (error instanceof RangeError) throw new JobFailed(error.message, { cause: error });
    throw error;
  }
  const [first] = selected.refused;
  if (first !== undefined) throw refuse(Buffer.from(first.path).toString('latin1'), first.reason);
  return selected.entries;
}

/** Waits for both also when one fails, so that nothing goes on in the background after the build has ended. */
async function settled<A, B>(both: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(both);
  return Promise.all(both);
}
