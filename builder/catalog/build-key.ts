import { createHash } from 'node:crypto';
import type { Digest } from '../../oci/digest.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { compressorId } from '../../oci/layer.ts';
import type { BaseFile } from './base-file.ts';
import type { CatalogEntry } from './catalog.ts';
import { hashEntries } from './static-files.ts';

/** Raised whenever the same recipe would be laid out differently. */
export const builderId = 'brickyard-base/1';

/** Raised whenever the same script would leave another layer. */
export const levelId = 'brickyard-level/1';

/** Names everything that an entry's image depends on but what the package sources hold today. */
export function recipeKey(input: {
  readonly entry: CatalogEntry;
  readonly staticFiles: readonly LayerEntry[];
  readonly parent: Digest | undefined;
  readonly architecture: string;
  /** What is run over the parent; undefined = nothing is. */
  readonly script?: Buffer;
}): string {
  const { entry, staticFiles, parent, architecture, script } = input;
  const run = script === undefined ? [] : [levelId, script.toString('latin1')];
  return sha256([
    builderId,
    parent ?? '',
    ofTheImage(entry.file),
    hashEntries(staticFiles),
    architecture,
    ...run,
  ]);
}

/** Without what no byte of the image depends on: whom to ask, how it is tried, where else a source may come from. */
function ofTheImage(file: BaseFile): unknown {
  return {
    ...file,
    owners: undefined,
    architectures: undefined,
    untested: undefined,
    test: undefined,
    timeout: undefined,
    sources: file.sources?.map((source) => ({ ...source, mirrors: undefined })),
  };
}

/**
 * The recipe's key with what was really fetched and how it is compressed, so that two images never want one immutable tag: its first
 * eight digits stand there.
 */
export function buildKey(recipe: string, sources: readonly string[]): string {
  return sha256([recipe, compressorId(), ...sources]);
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

/** Maps sorted by name, so that the order of keys in base.yaml does not count. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const pairs = Object.entries(value).filter(([, item]) => item !== undefined);
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${pairs.map(([name, item]) => `${JSON.stringify(name)}:${canonicalJson(item)}`).join(',')}}`;
}
