import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { BaseFileSource } from '../base-file.ts';
import type { CatalogEntry } from '../catalog.ts';
import type { FileTree } from '../file-tree.ts';
import type { FetchedSource, SourceFetcher } from './source-fetcher.ts';
import { unpackSource } from './unpack-source.ts';

export interface AddedSources {
  /** `name sha256` of each, for the build key. */
  readonly keys: readonly string[];
  /** Those without `unpack` and `links`: what static.sh finds under its name. */
  readonly offered: readonly FetchedSource[];
}

/** Fetches an entry's sources for one architecture and unpacks into `tree` those that say so. Errors: UserError. */
export async function addSources(
  tree: FileTree,
  entry: CatalogEntry,
  context: {
    readonly fetcher: SourceFetcher;
    readonly architecture: string;
    readonly spool: ContentSpool;
    readonly signal: AbortSignal;
    readonly onStep: (step: 'download' | 'unpack', done: number, total: number) => void;
  },
): Promise<AddedSources> {
  const { fetcher, architecture, spool, signal, onStep } = context;
  const wanted = (entry.file.sources ?? []).filter(({ architectures }) => isFor(architectures, architecture));
  if (wanted.length === 0) return { keys: [], offered: [] };
  const fetched = await fetcher.fetch(wanted, {
    signal,
    onProgress: (done, total) => onStep('download', done, total),
  });
  const offered: FetchedSource[] = [];
  for (const [index, each] of fetched.entries()) {
    signal.throwIfAborted();
    onStep('unpack', index, fetched.length);
    if (each.source.unpack === undefined && each.source.links === undefined) offered.push(each);
    else await unpackSource(each.file, each.source, { tree, spool });
  }
  return { keys: wanted.map(({ name, sha256 }) => `${name} ${sha256}`), offered };
}

function isFor(architectures: BaseFileSource['architectures'], architecture: string): boolean {
  return architectures === undefined || architectures.some((each) => each === architecture);
}
