import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Catalog, catalogFaultsError } from '../builder/catalog/catalog.ts';
import { fetchCatalogRepository, isCatalogRepository } from '../builder/catalog/catalog-repository.ts';
import { loadCatalog } from '../builder/catalog/load-catalog.ts';
import { formatFaults } from '../core/document/format-faults.ts';
import { UserError } from '../core/user-error.ts';
import { shippedWord } from './catalog-words.ts';
import { readConfig } from './config.ts';
import type { CliContext } from './context.ts';

/** The option that all commands of `base` share; may be given several times. */
export const catalogOption = [
  '--catalog <dir>',
  `folder of base.yaml files, git repository (https://…#REF) or "${shippedWord}"; several are laid over one another (default: builder.catalog)`,
  (value: string, before: readonly string[] = []): readonly string[] => [...before, value],
] as const;

/** The catalog that ships: beside the sources, or beside `dist/` in the published package. */
export function shippedCatalog(): string {
  for (let folder = import.meta.dirname; ; ) {
    const candidate = join(folder, 'baseimages');
    if (existsSync(candidate)) return candidate;
    const above = resolve(folder, '..');
    if (above === folder)
      throw new UserError('the catalog that ships with brickyard is missing: name one with --catalog');
    folder = above;
  }
}

/**
 * The folders of the catalogs that a command is about, lowest first: `--catalog`, else builder.catalog. Repositories are fetched, or
 * `offline` taken as they were. Errors: UserError.
 */
export async function catalogFolders(
  context: CliContext,
  named: readonly string[] | undefined,
  options: { readonly offline?: boolean; readonly signal?: AbortSignal } = {},
): Promise<readonly string[]> {
  const catalogs = named ?? readConfig({ env: context.env, cwd: context.cwd }).builder.catalog;
  const { offline = false, signal = new AbortController().signal } = options;
  return Promise.all(
    catalogs.map(async (catalog) => {
      if (catalog === shippedWord) return shippedCatalog();
      if (!isCatalogRepository(catalog)) return resolve(context.cwd, catalog);
      return fetchCatalogRepository(catalog, { cacheDir: cacheRoot(context), offline, signal });
    }),
  );
}

/** Errors: UserError with all faults. What is no error is said on stderr. */
export async function readCatalog(context: CliContext, folders: readonly string[]): Promise<Catalog> {
  const catalog = await loadCatalog(folders);
  if (catalog.entries.length === 0) throw catalogFaultsError(catalog, folders);
  for (const { document, faults } of catalog.faults) context.stderr(formatFaults(faults, document));
  return catalog;
}

/** The XDG base directory specification's place for what can be fetched again. */
export function cacheRoot(context: CliContext): string {
  const set = context.env.XDG_CACHE_HOME;
  return join(set === undefined || set === '' ? join(homedir(), '.cache') : set, 'brickyard');
}
