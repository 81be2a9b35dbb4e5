import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSchemaChecker } from '../../core/document/check-schema.ts';
import { type DocumentFault, hasErrors, type SourceDocument } from '../../core/document/document.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { parseDocument } from '../../core/document/parse-document.ts';
import { suggest } from '../../core/document/suggest.ts';
import { UserError } from '../../core/user-error.ts';
import type { BaseFile } from './base-file.ts';
import { baseFileSchema } from './base-file-schema.ts';

/** The team that catalog images belong to. */
export const catalogTeam = 'baseimages';

/** Overlay file systems stack at most 127 layers, and nobody follows more than this many levels. */
const deepest = 8;

export interface CatalogEntry {
  readonly file: BaseFile;
  /** Holds base.yaml, and perhaps `static/` and `runtime.sh`. */
  readonly directory: string;
  /** `baseimages/<name>`. */
  readonly repository: string;
  /** The name of the entry it stands on. */
  readonly parent?: string;
}

export interface Catalog {
  /** Parents before children, otherwise by name. Empty when there is an error. */
  readonly entries: readonly CatalogEntry[];
  readonly faults: readonly CatalogFaults[];
}

export interface CatalogFaults {
  readonly document: SourceDocument;
  readonly faults: readonly DocumentFault[];
}

/** All faults of a catalog that cannot be used, for the person who wrote it. */
export function catalogFaultsError(catalog: Catalog, directory: string): UserError {
  const texts = catalog.faults.map(({ document, faults }) => formatFaults(faults, document));
  return new UserError(texts.join('').trimEnd() || `there is no base.yaml below ${directory}`);
}

/** Reads every `<directory>/<entry>/base.yaml` and checks them together. Errors: UserError when the folder cannot be read. */
export async function loadCatalog(directory: string): Promise<Catalog> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw new UserError(`the catalog ${directory} cannot be read`, { cause: error });
  });
  const documents: { document: SourceDocument; directory: string }[] = [];
  for (const name of names.sort()) {
    const file = join(directory, name, 'base.yaml');
    const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw error;
    });
    if (bytes !== undefined)
      documents.push({ document: parseDocument(file, bytes), directory: join(directory, name) });
  }
  return checkCatalog(documents);
}

/** Pure: the catalog that these files make. */
export function checkCatalog(
  documents: readonly { readonly document: SourceDocument; readonly directory: string }[],
): Catalog {
  const check = createSchemaChecker(baseFileSchema);
  const faults = new Map<SourceDocument, DocumentFault[]>();
  const entries = new Map<string, CatalogEntry & { document: SourceDocument }>();
  for (const { document, directory } of documents) {
    const found = hasErrors(document.faults)
      ? [...document.faults]
      : [...document.faults, ...check(document)];
    faults.set(document, found);
    if (hasErrors(found)) continue;
    const file = document.value as BaseFile;
    found.push(...checkSources(document, file));
    if (entries.has(file.name)) {
      found.push(document.fault(['name'], { code: 'E301', message: `two entries are called ${file.name}` }));
      continue;
    }
    const parent = file.parent?.split(':', 1)[0];
    entries.set(file.name, {
      file,
      directory,
      repository: `${catalogTeam}/${file.name}`,
      ...(parent === undefined ? {} : { parent }),
      document,
    });
  }
  for (const entry of entries.values()) {
    const fault = checkParent(entry, entries);
    if (fault !== undefined) faults.get(entry.document)?.push(fault);
  }
  const all = [...faults]
    .map(([document, list]) => ({ document, faults: list }))
    .filter((f) => f.faults.length > 0);
  if (all.some((f) => hasErrors(f.faults))) return { entries: [], faults: all };
  return { entries: inOrder(entries), faults: all };
}

function checkSources(document: SourceDocument, file: BaseFile): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const bottoms = [file.parent, file.debian, file.image].filter((source) => source !== undefined).length;
  if (bottoms !== 1) {
    faults.push(
      document.fault(['name'], {
        code: 'E302',
        message: 'an entry stands on exactly one of "parent", "debian" and "image"',
      }),
    );
  }
  return faults;
}

function checkParent(
  entry: CatalogEntry & { document: SourceDocument },
  entries: ReadonlyMap<string, CatalogEntry>,
): DocumentFault | undefined {
  const fault = (code: string, message: string, hint?: string): DocumentFault =>
    entry.document.fault(['parent'], { code, message, ...(hint === undefined ? {} : { hint }) });
  if (entry.parent === undefined) return undefined;
  if (entry.parent === entry.file.name) return fault('E303', `${entry.file.name} cannot be its own parent`);
  const parent = entries.get(entry.parent);
  if (parent === undefined) {
    const near = suggest(entry.parent, entries.keys());
    return fault(
      'E304',
      `there is no entry ${JSON.stringify(entry.parent)}`,
      near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
    );
  }
  const channel = entry.file.parent?.slice(entry.parent.length + 1) ?? '';
  if (!parent.file.channels.includes(channel)) {
    return fault(
      'E305',
      `${entry.parent} has no channel ${JSON.stringify(channel)}`,
      `it has ${parent.file.channels.join(', ')}`,
    );
  }
  const chain = [entry.file.name];
  for (let up: CatalogEntry | undefined = parent; up !== undefined; up = entries.get(up.parent ?? '')) {
    if (up.file.name === entry.file.name) {
      return fault('E306', `the parents go in a circle: ${[...chain, up.file.name].join(' → ')}`);
    }
    // Another entry's circle; that entry reports it.
    if (chain.includes(up.file.name)) return undefined;
    chain.push(up.file.name);
    if (chain.length > deepest) return fault('E307', `more than ${deepest} levels: ${chain.join(' → ')}`);
  }
  return undefined;
}

function inOrder(entries: ReadonlyMap<string, CatalogEntry & { document: SourceDocument }>): CatalogEntry[] {
  const ordered = new Map<string, CatalogEntry>();
  const visit = (name: string): void => {
    const entry = entries.get(name);
    if (entry === undefined || ordered.has(name)) return;
    if (entry.parent !== undefined) visit(entry.parent);
    const { document: _, ...rest } = entry;
    ordered.set(name, rest);
  };
  for (const name of [...entries.keys()].sort()) visit(name);
  return [...ordered.values()];
}
