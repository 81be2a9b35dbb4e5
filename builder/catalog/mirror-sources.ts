import { stat } from 'node:fs/promises';
import { UserError } from '../../core/user-error.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BaseArchitecture } from './base-file.ts';
import { type CatalogEntry, catalogFaultsError, findEntry, lineOf } from './catalog.ts';
import type { DebianRequest } from './debian/apt.ts';
import { createDebianDownloads } from './debian/downloads.ts';
import { keepDownload } from './debian/kept-downloads.ts';
import { loadCatalog } from './load-catalog.ts';
import { npmPackagesOf, npmTag } from './npm/npm-package.ts';
import { createKeptSources, type KeptSources, sourceTag } from './sources/kept-sources.ts';
import { createSourceFetcher, type SourceFetcher } from './sources/source-fetcher.ts';

export interface MirrorSourcesOptions {
  readonly catalogDir: string | readonly string[];
  /** Entries with their parents: `jdk:17`, or `jdk` for its latest; undefined = all but those marked untested. */
  readonly names?: readonly string[];
  readonly registry: Registry;
  readonly cacheDir: string;
  /** Whose files are kept. Default: this machine's. */
  readonly architecture?: BaseArchitecture;
  readonly signal: AbortSignal;
  /** One line for each thing as it is done. */
  readonly log: (line: string) => void;
}

export interface MirroredSources {
  /** Files and sets of packages that were fetched and are kept now. */
  readonly kept: readonly string[];
  /** Those that were there before. */
  readonly before: readonly string[];
  /** What could not be kept, and why. */
  readonly failed: readonly { readonly name: string; readonly reason: string }[];
}

interface Item {
  readonly name: string;
  readonly tag: string;
  /** Kept even when the tag is there: Debian's packages of today. */
  readonly always?: boolean;
  readonly keep: () => Promise<void>;
}

/**
 * Keeps everything that entries of the catalog are made of in our own registry, for networks that reach nothing else: see `sourcesRepository`.
 * One thing that cannot be had does not keep the others away. Errors: UserError for the catalog; those of the registry.
 */
export async function mirrorSources(options: MirrorSourcesOptions): Promise<MirroredSources> {
  const { catalogDir, registry, cacheDir, signal, log } = options;
  const catalog = await loadCatalog(catalogDir);
  const { entries } = catalog;
  if (entries.length === 0) throw catalogFaultsError(catalog, catalogDir);
  const named =
    options.names?.map((name) => findEntry(entries, name)) ??
    entries.filter(({ file }) => file.untested === undefined);
  const wanted = new Set(named.flatMap((entry) => lineOf(entries, entry)));
  const store = createKeptSources(registry);
  const fetcher = createSourceFetcher({ folder: cacheDir, mirrors: catalog.mirrors });
  const result = {
    kept: [] as string[],
    before: [] as string[],
    failed: [] as { name: string; reason: string }[],
  };
  try {
    const downloads = createDebianDownloads(cacheDir);
    const architecture = options.architecture ?? (process.arch === 'x64' ? 'amd64' : 'arm64');
    const items = [...wanted].flatMap((entry) => [
      ...filesOf(entry, { store, fetcher, signal, architecture }),
      ...debianOf(entry, lineOf(entries, entry), architecture).map((request): Item => {
        const name = `${entry.id}: Debian packages`;
        return {
          name,
          tag: '',
          always: true,
          async keep() {
            const download = await downloads.download(request, { signal, onProgress: () => undefined });
            await keepDownload(store, request, download);
          },
        };
      }),
    ]);
    for (const { name, tag, always, keep } of items) {
      signal.throwIfAborted();
      if (always !== true && (await store.has(tag))) {
        result.before.push(name);
        continue;
      }
      try {
        await keep();
        result.kept.push(name);
        log(`kept ${name}`);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        result.failed.push({ name, reason: error.message });
        log(`could not keep ${name}: ${error.message}`);
      }
    }
  } finally {
    fetcher.close();
  }
  return result;
}

interface FileContext {
  readonly store: KeptSources;
  readonly fetcher: SourceFetcher;
  readonly signal: AbortSignal;
  readonly architecture: BaseArchitecture;
}

function filesOf(entry: CatalogEntry, context: FileContext): Item[] {
  const { store, fetcher, signal, architecture } = context;
  const sources = (entry.file.sources ?? []).filter(
    ({ architectures }) => architectures?.includes(architecture) !== false,
  );
  return [
    ...sources.map((source): Item => {
      const { sha256 = '' } = source;
      return {
        name: `${entry.id}: ${source.name}`,
        tag: sourceTag(sha256),
        async keep() {
          const [fetched] = await fetcher.fetch([source], { signal });
          await keepFile(store, sourceTag(sha256), { file: fetched?.file ?? '', sha256, title: source.name });
        },
      };
    }),
    ...npmPackagesOf(entry.file, architecture).map((npm): Item => {
      const title = `${npm.name}@${npm.version}`;
      return {
        name: `${entry.id}: ${title}`,
        tag: npmTag(npm),
        async keep() {
          const { file, sha256 } = await fetcher.npm(npm, signal);
          await keepFile(store, npmTag(npm), { file, sha256, title });
        },
      };
    }),
  ];
}

async function keepFile(
  store: KeptSources,
  tag: string,
  { file, sha256, title }: { readonly file: string; readonly sha256: string; readonly title: string },
): Promise<void> {
  await store.keep(tag, [{ content: { file, size: (await stat(file)).size }, sha256, title }]);
}

/** What an entry asks Debian for. */
function debianOf(
  { file }: CatalogEntry,
  line: readonly CatalogEntry[],
  architecture: string,
): readonly DebianRequest[] {
  const suite = line[0]?.file.debian?.suite;
  if (suite === undefined) return [];
  return [file.debian?.packages, file.packages?.apt]
    .filter((packages) => packages !== undefined)
    .map((packages) => ({ suite, architecture, packages }));
}
