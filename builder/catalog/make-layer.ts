import { mkdir, stat } from 'node:fs/promises';
import { createContentSpool } from '../../oci/layer/content-spool.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import type { Layer } from '../../oci/layer.ts';
import { pushLayer } from '../engines/assembler/push-layer.ts';
import { makeBaseLayer } from './base-layer.ts';
import type { CatalogEntry } from './catalog.ts';
import { type LevelParent, makeLevel } from './level/make-level.ts';
import { EngineMissing, type LevelContext, levelTimeout, reporter } from './level-context.ts';

export interface LayerParts {
  /** `static/` and the runtime script. */
  readonly staticFiles: readonly LayerEntry[];
  /** Undefined: no script runs, and the layer does not depend on the parent. */
  readonly run?: { readonly script: Buffer; readonly parent: LevelParent };
}

/** An entry's one layer, in the registry. `sources` is what it depends on besides the recipe. Errors: UserError, EngineMissing, those of `makeLevel` and of the registry. */
export async function makeLayer(
  entry: CatalogEntry,
  parts: LayerParts,
  context: LevelContext,
): Promise<{ readonly layer: Layer; readonly sources: readonly string[] }> {
  const { run } = parts;
  const report = reporter(entry, context);
  const sandbox = run === undefined ? undefined : await context.sandbox();
  if (run !== undefined && sandbox === undefined) throw new EngineMissing(entry);
  await mkdir(context.cacheDir, { recursive: true });
  const spool = createContentSpool({ folder: context.cacheDir, memoryBytes: 32 * 1024 * 1024 });
  try {
    const shared = { ...context, spool, onStep: report };
    const own = await makeBaseLayer(entry, parts.staticFiles, shared);
    let { entries, sources } = own;
    if (run !== undefined && sandbox !== undefined) {
      const offered = own.offered.map(async ({ source, file }) => {
        const { size } = await stat(file);
        return { path: source.name, content: { file, size } };
      });
      const level = {
        ...run,
        files: own.entries,
        sources: await Promise.all(offered),
        timeoutSeconds: levelTimeout(entry),
      };
      const log = (line: string): void => context.output(entry, line);
      const made = await context.runs(() => makeLevel(entry, level, { ...shared, sandbox, log }));
      entries = made.entries;
      sources = [...sources, ...made.fetched];
    }
    const { layer, store } = await pushLayer(
      context.registry,
      entry.repository,
      counted(entries, report),
      context.signal,
    );
    await store();
    report('compress', entries.length, entries.length);
    // Another script may have done something else with the same sources, or this one something by chance.
    return { layer, sources: run === undefined ? sources : [...sources, layer.diffId] };
  } finally {
    await spool.close();
  }
}

function* counted(
  entries: readonly LayerEntry[],
  report: (step: 'compress', done: number, total: number) => void,
): Generator<LayerEntry, void, undefined> {
  for (const [index, entry] of entries.entries()) {
    if (index % 200 === 0) report('compress', index, entries.length);
    yield entry;
  }
}
