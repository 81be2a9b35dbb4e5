import type { DocumentFault, SourceDocument } from '../../core/document/document.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { suggest } from '../../core/document/suggest.ts';
import { UserError } from '../../core/user-error.ts';
import type { BaseFile } from './base-file.ts';
import type { CatalogMirrors } from './sources/mirror-addresses.ts';

/** The team that catalog images belong to. */
export const catalogTeam = 'baseimages';

export interface CatalogEntry {
  readonly file: BaseFile;
  /** Holds base.yaml, and perhaps `static.sh`, `static/` and `runtime.sh`. */
  readonly directory: string;
  /** `<name>:<first channel>`: unique, and what the entry is called where names have several versions. */
  readonly id: string;
  /** `baseimages/<name>`. */
  readonly repository: string;
  /** The id of the entry it stands on. */
  readonly parent?: string;
}

export interface Catalog {
  /** Parents before children, otherwise by id. Empty when there is an error. */
  readonly entries: readonly CatalogEntry[];
  readonly faults: readonly CatalogFaults[];
  /** Of all catalog.yaml files; those of an upper catalog stand before those of a lower one. */
  readonly mirrors: CatalogMirrors;
}

export interface CatalogFaults {
  readonly document: SourceDocument;
  readonly faults: readonly DocumentFault[];
}

/** All faults of a catalog that cannot be used, for the person who wrote it. */
export function catalogFaultsError(catalog: Catalog, directories: string | readonly string[]): UserError {
  const texts = catalog.faults.map(({ document, faults }) => formatFaults(faults, document));
  return new UserError(
    texts.join('').trimEnd() || `there is no base.yaml below ${[directories].flat().join(', ')}`,
  );
}

/**
 * The entry that somebody means by `jdk:17` (any of its channels) or `jdk`: the one with the channel `latest`, else the only one of
 * that name. Errors: UserError that says what there is.
 */
export function findEntry(entries: readonly CatalogEntry[], reference: string): CatalogEntry {
  const [name = '', channel] = reference.split(':');
  const versions = entries.filter(({ file }) => file.name === name);
  if (versions.length === 0) {
    const names = [...new Set(entries.map(({ file }) => file.name))];
    const near = suggest(name, names);
    throw new UserError(
      `the catalog has no entry ${name}; ${near === undefined ? `it has ${names.join(', ')}` : `did you mean ${near}?`}`,
    );
  }
  const wanted = channel ?? 'latest';
  const found = versions.find(({ file }) => file.channels.includes(wanted));
  if (found !== undefined) return found;
  const [only, another] = versions;
  if (channel === undefined && only !== undefined && another === undefined) return only;
  const has = versions.flatMap(({ file }) => file.channels.map((each) => `${name}:${each}`)).join(', ');
  throw new UserError(
    channel === undefined
      ? `${name} has several versions and none of them is "latest"; name one of ${has}`
      : `the catalog has no ${reference}; it has ${has}`,
  );
}

/** `entry` and all that it stands on, from the bottom. */
export function lineOf(entries: readonly CatalogEntry[], entry: CatalogEntry): readonly CatalogEntry[] {
  const byId = new Map(entries.map((each) => [each.id, each]));
  const line: CatalogEntry[] = [];
  for (let up: CatalogEntry | undefined = entry; up !== undefined; up = byId.get(up.parent ?? ''))
    line.unshift(up);
  return line;
}
