import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Catalog, catalogFaultsError } from '../builder/catalog/catalog.ts';
import { loadCatalog } from '../builder/catalog/load-catalog.ts';
import { formatFaults } from '../core/document/format-faults.ts';
import { UserError } from '../core/user-error.ts';
import { readConfig } from './config.ts';
import type { CliContext } from './context.ts';

/** Stands for the catalog that ships, among folders of others. */
export const shippedWord = 'shipped';

/** The option that all commands of `base` share; may be given several times. */
export const catalogOption = [
  '--catalog <dir>',
  `folder of base.yaml files, or "${shippedWord}"; give several to lay one over another (default: builder.catalog)`,
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

/** The catalogs that a command is about, lowest first: `--catalog`, else builder.catalog, else the one that ships. */
export function catalogFolders(context: CliContext, named: readonly string[] | undefined): readonly string[] {
  if (named !== undefined) {
    return named.map((folder) => (folder === shippedWord ? shippedCatalog() : resolve(context.cwd, folder)));
  }
  const configured = readConfig({ env: context.env, cwd: context.cwd }).builder.catalog;
  return [configured ?? shippedCatalog()];
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
