import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from '../../core/document/parse-document.ts';
import { UserError } from '../../core/user-error.ts';
import type { Catalog } from './catalog.ts';
import { type CatalogDocument, type CatalogSettings, createCatalogChecker } from './check-catalog.ts';

/**
 * Reads every `<directory>/<name>/base.yaml` and `<directory>/<name>/<version>/base.yaml`, and the folder's
 * own catalog.yaml, and checks them together. Of several directories a later one's entries stand in for those of the earlier ones. Errors: UserError when a folder cannot be read.
 */
export async function loadCatalog(directories: string | readonly string[]): Promise<Catalog> {
  const { documents, settings } = await readCatalogDocuments(directories);
  return createCatalogChecker()(documents, settings);
}

/** The files of a catalog, parsed and not checked. Errors: UserError when a folder cannot be read. */
export async function readCatalogDocuments(directories: string | readonly string[]): Promise<{
  readonly documents: readonly CatalogDocument[];
  readonly settings: readonly CatalogSettings[];
}> {
  const documents: CatalogDocument[] = [];
  const settings: CatalogSettings[] = [];
  for (const [rank, directory] of [directories].flat().entries()) {
    const settingsFile = join(directory, 'catalog.yaml');
    const text = await readIfThere(settingsFile);
    if (text !== undefined) settings.push({ document: parseDocument(settingsFile, text), rank });
    for (const name of await foldersIn(directory, true)) {
      const folder = join(directory, name);
      const candidates = [folder];
      for (const version of await foldersIn(folder, false)) {
        // The files of an image, which may well hold one of that name.
        if (version !== 'static') candidates.push(join(folder, version));
      }
      for (const candidate of candidates) {
        const file = join(candidate, 'base.yaml');
        const bytes = await readIfThere(file);
        if (bytes !== undefined)
          documents.push({ document: parseDocument(file, bytes), directory: candidate, rank });
      }
    }
  }
  return { documents, settings };
}

/** Sorted names. What is no folder is passed over by its failing read. */
async function foldersIn(directory: string, required: boolean): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    throw new UserError(`the catalog ${directory} cannot be read`, { cause: error });
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
