import { createSchemaChecker } from '../../core/document/check-schema.ts';
import { type DocumentFault, hasErrors, type SourceDocument } from '../../core/document/document.ts';
import { suggest } from '../../core/document/suggest.ts';
import type { BaseDeprecation, BaseFile } from './base-file.ts';
import { baseFileSchema } from './base-file-schema.ts';
import { type Catalog, type CatalogEntry, catalogTeam } from './catalog.ts';
import { type CatalogPolicy, checkCatalogFile, checkPolicy } from './catalog-file.ts';
import { checkBaseFile } from './check-base-file.ts';
import { catalogCodes } from './codes.ts';
import type { CatalogMirrors } from './sources/mirror-addresses.ts';

/** Overlay file systems stack at most 127 layers, and nobody follows more than this many levels. */
const deepest = 8;

export interface CatalogDocument {
  readonly document: SourceDocument;
  readonly directory: string;
  /** Which catalog it is of: entries of a higher rank stand in for those below. Default 0. */
  readonly rank?: number;
}

/** A catalog.yaml and what it says. */
export interface CatalogSettings {
  readonly document: SourceDocument;
  readonly rank: number;
}

interface Read extends CatalogEntry {
  readonly document: SourceDocument;
  readonly rank: number;
}

type Faults = Map<SourceDocument, DocumentFault[]>;

/** Pure: the catalog that files make. Keep it where many are checked: compiling the schema takes some milliseconds. */
export function createCatalogChecker(): (
  documents: readonly CatalogDocument[],
  settings?: readonly CatalogSettings[],
) => Catalog {
  const check = createSchemaChecker(baseFileSchema);
  return (documents, settings = []) => checkCatalog(documents, settings, check);
}

function checkCatalog(
  documents: readonly CatalogDocument[],
  settings: readonly CatalogSettings[],
  check: (document: SourceDocument) => DocumentFault[],
): Catalog {
  const faults: Faults = new Map();
  const { mirrors, policies } = readSettings(settings, faults);
  const read: Read[] = [];
  /** What files with faults would be called: whoever stands on them has none for it. */
  const broken = new Set<string>();
  for (const { document, directory, rank = 0 } of documents) {
    const found = hasErrors(document.faults)
      ? [...document.faults]
      : [...document.faults, ...check(document)];
    faults.set(document, found);
    if (hasErrors(found)) {
      for (const reference of namesOf(document.value)) broken.add(reference);
      continue;
    }
    const file = document.value as BaseFile;
    found.push(...checkBaseFile(document, file), ...checkPolicy(document, file, policies.get(rank) ?? {}));
    read.push({
      file,
      directory,
      id: `${file.name}:${file.channels[0]}`,
      repository: `${catalogTeam}/${file.name}`,
      document,
      rank,
    });
  }
  const channels = claimChannels(read, faults);
  const entries = new Map<string, Read>();
  for (const entry of new Set(channels.values())) {
    const parent = channels.get(entry.file.parent ?? '')?.id;
    entries.set(entry.id, { ...entry, ...(parent === undefined ? {} : { parent }) });
  }
  for (const entry of entries.values()) {
    for (const fault of checkRelations(entry, { entries, channels, broken }))
      faults.get(entry.document)?.push(fault);
  }
  const all = [...faults]
    .map(([document, list]) => ({ document, faults: list }))
    .filter((f) => f.faults.length > 0);
  if (all.some((f) => hasErrors(f.faults))) return { entries: [], faults: all, mirrors };
  return { entries: inOrder(entries), faults: all, mirrors };
}

function readSettings(
  settings: readonly CatalogSettings[],
  faults: Faults,
): { readonly mirrors: CatalogMirrors; readonly policies: ReadonlyMap<number, CatalogPolicy> } {
  const mirrors: Record<string, readonly string[]> = {};
  const policies = new Map<number, CatalogPolicy>();
  for (const { document, rank } of settings.toSorted((a, b) => b.rank - a.rank)) {
    const checked = checkCatalogFile(document);
    faults.set(document, [...checked.faults]);
    if (checked.file.policy !== undefined) policies.set(rank, checked.file.policy);
    for (const [prefix, addresses] of Object.entries(checked.file.mirrors ?? {})) {
      mirrors[prefix] = [...(mirrors[prefix] ?? []), ...addresses];
    }
  }
  return { mirrors, policies };
}

/** `name:channel` → its entry. Of two catalogs the upper one's entry counts, as a whole, so that nobody gets half of each. */
function claimChannels(read: readonly Read[], faults: Faults): Map<string, Read> {
  const channels = new Map<string, Read>();
  for (const entry of read.toSorted((a, b) => b.rank - a.rank)) {
    const references = entry.file.channels.map((channel) => `${entry.file.name}:${channel}`);
    const index = references.findIndex((reference) => channels.has(reference));
    const other = channels.get(references[index] ?? '');
    if (other === undefined) {
      for (const reference of references) channels.set(reference, entry);
    } else if (other.rank > entry.rank) {
      const lost = references.filter((reference) => !channels.has(reference));
      faults.get(other.document)?.push(
        other.document.fault(['name'], {
          code: catalogCodes.covered,
          severity: 'info',
          message: `it stands in for ${references[index]} of ${entry.document.file}`,
          ...(lost.length === 0 ? {} : { hint: `nobody has ${lost.join(', ')} any more` }),
        }),
      );
    } else {
      faults.get(entry.document)?.push(
        entry.document.fault(['channels', index], {
          code: catalogCodes.channelTaken,
          message: `${references[index]} is taken by ${other.document.file}`,
          hint: 'each channel belongs to one entry of a name',
        }),
      );
    }
  }
  return channels;
}

/** `name:channel` of a value that did not pass the schema, as far as there is any. */
function namesOf(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { name, channels } = value as Partial<Record<keyof BaseFile, unknown>>;
  if (typeof name !== 'string' || !Array.isArray(channels)) return [];
  return channels.map((channel) => `${name}:${String(channel)}`);
}

interface Others {
  readonly entries: ReadonlyMap<string, Read>;
  readonly channels: ReadonlyMap<string, Read>;
  readonly broken: ReadonlySet<string>;
}

function checkRelations(entry: Read, { entries, channels, broken }: Others): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const { parent, deprecation } = entry.file;
  const fault = (path: readonly string[], code: string, message: string, hint?: string): void => {
    faults.push(entry.document.fault(path, { code, message, ...(hint === undefined ? {} : { hint }) }));
  };
  if (parent !== undefined) {
    const found = broken.has(parent) ? undefined : checkReference(parent, channels);
    if (channels.get(parent)?.id === entry.id)
      fault(['parent'], catalogCodes.ownParent, `${parent} cannot be its own parent`);
    else if (found !== undefined) fault(['parent'], found.code, found.message, found.hint);
    else {
      const line = checkLine(entry, entries);
      if (line !== undefined) fault(['parent'], line.code, line.message);
      const old = channels.get(parent)?.file.deprecation;
      if (old !== undefined) faults.push(onDeprecated(entry.document, parent, old));
    }
  }
  if (deprecation?.replacement !== undefined && !broken.has(deprecation.replacement)) {
    const found = checkReference(deprecation.replacement, channels);
    if (found !== undefined) fault(['deprecation', 'replacement'], found.code, found.message, found.hint);
  }
  return faults;
}

function onDeprecated(
  document: SourceDocument,
  parent: string,
  { replacement }: BaseDeprecation,
): DocumentFault {
  return document.fault(['parent'], {
    code: catalogCodes.advice,
    severity: 'warning',
    message: `${parent} is deprecated`,
    ...(replacement === undefined ? {} : { hint: `use ${replacement} instead` }),
  });
}

interface Found {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** Why `name:channel` names no entry. */
function checkReference(reference: string, channels: ReadonlyMap<string, Read>): Found | undefined {
  if (channels.has(reference)) return undefined;
  const [name = '', channel = ''] = reference.split(':');
  const names = new Set([...channels.values()].map(({ file }) => file.name));
  if (names.has(name)) {
    const has = [...channels.keys()].filter((each) => each.startsWith(`${name}:`));
    return {
      code: catalogCodes.noChannel,
      message: `${name} has no channel ${JSON.stringify(channel)}`,
      hint: `it has ${has.map((each) => each.slice(name.length + 1)).join(', ')}`,
    };
  }
  const near = suggest(name, names);
  return {
    code: catalogCodes.noParent,
    message: `there is no entry ${JSON.stringify(name)}`,
    ...(near === undefined ? {} : { hint: `did you mean ${JSON.stringify(near)}?` }),
  };
}

/** From the entry up to the bottom: no circle, and not too long. */
function checkLine(entry: Read, entries: ReadonlyMap<string, Read>): Found | undefined {
  const chain = [entry.id];
  for (let up = entry.parent; up !== undefined; up = entries.get(up)?.parent) {
    if (up === entry.id) {
      const message = `the parents go in a circle: ${[...chain, up].join(' → ')}`;
      return { code: catalogCodes.circle, message };
    }
    // Another entry's circle; that entry reports it.
    if (chain.includes(up)) return undefined;
    chain.push(up);
    if (chain.length > deepest) {
      return { code: catalogCodes.tooDeep, message: `more than ${deepest} levels: ${chain.join(' → ')}` };
    }
  }
  return undefined;
}

function inOrder(entries: ReadonlyMap<string, Read>): CatalogEntry[] {
  const ordered = new Map<string, CatalogEntry>();
  const visit = (id: string): void => {
    const entry = entries.get(id);
    if (entry === undefined || ordered.has(id)) return;
    if (entry.parent !== undefined) visit(entry.parent);
    const { document: _, rank: __, ...rest } = entry;
    ordered.set(id, rest);
  };
  for (const id of [...entries.keys()].sort()) visit(id);
  return [...ordered.values()];
}
