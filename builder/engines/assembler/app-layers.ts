import { createContentSpool } from '../../../oci/layer/content-spool.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { ImageContent } from '../../plan/image-content.ts';
import type { EngineInput } from '../engine.ts';
import { type AppPart, appParts, describePart } from './app-parts.ts';
import { generatedEntries } from './generated-entries.ts';
import type { AppLayer } from './image-documents.ts';
import { type LayerCache, layerKey } from './layer-cache.ts';
import { readOutputs } from './output-entries.ts';
import { partEntries } from './part-entries.ts';
import { hasBlob, type PushedLayer, pushLayer } from './push-layer.ts';
import { selectFiles } from './select-files.ts';

export interface MadeLayer extends AppLayer {
  /** As `PushedLayer.store`. */
  readonly store: PushedLayer['store'];
}

/**
 * Makes the layers of an app, rarest change first. A part that gave a layer before is neither read nor compressed again while the
 * repository still has that layer: of what a build made, contents are known by their hashes once they are read; of a commit, by their
 * object ids. Errors: JobFailed for what cannot enter an image, those of the registry.
 */
export function createLayerMaker(deps: {
  readonly registry: Registry;
  /** Undefined: everything is read and compressed. */
  readonly cache: LayerCache | undefined;
}): (input: EngineInput, content: ImageContent, signal: AbortSignal) => Promise<readonly MadeLayer[]> {
  const { registry, cache } = deps;

  return async (input, content, signal) => {
    const { directory, appname, rebase } = input.plan;
    const spool = createContentSpool();
    try {
      const outputs =
        input.outputs === undefined
          ? []
          : await readOutputs(input.outputs, { directory, spool, outside: rebase === 'never' });
      const generated = await generatedEntries(content, input.source);
      const selected = await selectFiles(input);
      const { directories } = content;
      const parts = appParts({ appname, directory, generated, directories, outputs, selected });
      const found = await Promise.all(parts.map((part) => lookUp(part, input)));
      const made: MadeLayer[] = [];
      // One after another: contents enter the spool in turn, and a first build is bound by the compressor anyway.
      for (const { part, key, known } of found) made.push(known ?? (await make(part, key)));
      return made;
    } finally {
      await spool.close();
    }

    async function make(part: AppPart, key: string): Promise<MadeLayer> {
      const entries = partEntries(part, { source: input.source, spool });
      const pushed = await pushLayer(registry, input.plan.repository, entries, signal);
      return {
        part: part.part,
        layer: pushed.layer,
        async store() {
          const stored = await pushed.store();
          await cache?.set(key, pushed.layer);
          return stored;
        },
      };
    }
  };

  async function lookUp(
    part: AppPart,
    { plan }: EngineInput,
  ): Promise<{ part: AppPart; key: string; known?: MadeLayer }> {
    const key = layerKey(describePart(part));
    const layer = await cache?.get(key);
    if (layer === undefined || !(await hasBlob(registry, plan.repository, layer.digest))) {
      return { part, key };
    }
    return { part, key, known: { part: part.part, layer, store: async () => false } };
  }
}
