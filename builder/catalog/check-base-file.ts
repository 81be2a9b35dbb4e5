import type { DocumentFault, DocumentPath, SourceDocument } from '../../core/document/document.ts';
import type { BaseFile, BaseFileSource } from './base-file.ts';
import { catalogCodes } from './codes.ts';
import { sourcesName } from './sources/kept-sources.ts';

type Add = (path: DocumentPath, code: string, message: string, hint?: string) => void;

/** What one value of an entry means for another. The document has passed the schema. */
export function checkBaseFile(document: SourceDocument, file: BaseFile): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const add: Add = (path, code, message, hint) => {
    faults.push(document.fault(path, { code, message, ...(hint === undefined ? {} : { hint }) }));
  };
  const bottoms = [file.parent, file.debian, file.image].filter((bottom) => bottom !== undefined).length;
  if (bottoms !== 1) {
    add(['name'], catalogCodes.bottom, 'an entry stands on exactly one of "parent", "debian" and "image"');
  }
  if (file.packages !== undefined && file.parent === undefined) {
    add(
      ['packages'],
      catalogCodes.together,
      '"packages" are installed on a parent, and this entry has none',
      'name them under debian.packages',
    );
  }
  if (file.name === sourcesName) {
    add(['name'], catalogCodes.together, `"${sourcesName}" is where "base mirror" keeps its files`);
  }
  checkArchitectures(file, add);
  checkSources(file, add);
  checkPlaces(file, add);
  checkDeprecation(file, add);
  return faults;
}

function checkArchitectures(file: BaseFile, add: Add): void {
  for (const [index, npm] of (file.npm ?? []).entries()) {
    for (const key of ['package', 'integrity'] as const) {
      const value = npm[key];
      if (typeof value === 'string') continue;
      for (const architecture of file.architectures ?? []) {
        if (value[architecture] === undefined)
          add(['npm', index, key], catalogCodes.together, `nothing is named for ${architecture}`);
      }
    }
  }
}

/** Sources whose bytes are an archive by the way they are fetched; of others the name tells. */
const archiveName = /\.(?:tgz|tar|tar\.gz|zip|jar|war)$/;

function checkSources(file: BaseFile, add: Add): void {
  const named = new Map<string, BaseFileSource>();
  for (const [index, source] of (file.sources ?? []).entries()) {
    const at = (key?: string): DocumentPath => ['sources', index, ...(key === undefined ? [] : [key])];
    const coordinates = (['maven', 'npm', 'url', 'git'] as const).filter((key) => source[key] !== undefined);
    if (coordinates.length !== 1) {
      const [, second] = coordinates;
      const message = 'a source has exactly one of "maven", "npm", "url" and "git"';
      add(at(second), catalogCodes.source, message);
    }
    if (source.sha256 === undefined && file.untested === undefined) {
      add(
        at(),
        catalogCodes.source,
        'the key "sha256" is missing: nothing unchecked enters an image',
        'sha256sum FILE prints it; or say under "untested" why it is not known',
      );
    }
    const twin = named.get(source.name);
    if (twin !== undefined && overlap(twin, source)) {
      add(at('name'), catalogCodes.source, `two sources are called ${source.name}`);
    }
    named.set(source.name, source);
    checkUnpack(source, (key, message, hint) => add(at(key), catalogCodes.source, message, hint));
  }
}

/**
 * Where nothing may be unpacked: Debian has links there (merged /usr) or directories whose mode is not 0755, and a layer's directory
 * would take their place.
 */
const merged = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const volatile = ['/dev', '/proc', '/sys', '/tmp', '/root', '/run', '/var/run', '/var/lock', '/var/tmp'];
const closed = [...merged, ...volatile, '/etc/appimg'];

function checkPlaces(file: BaseFile, add: Add): void {
  const check = (path: DocumentPath, place: string): void => {
    const top = closed.find((each) => place === each || place.startsWith(`${each}/`));
    if (top === undefined) return;
    const hint = merged.includes(top) ? `write /usr${place}` : 'use a place of its own, such as /opt/NAME';
    add(path, catalogCodes.place, `nothing may be laid over ${top}`, hint);
  };
  for (const [index, { files, links = {} }] of (file.npm ?? []).entries()) {
    for (const [from, to] of Object.entries(files)) check(['npm', index, 'files', from], to);
    for (const place of Object.keys(links)) check(['npm', index, 'links', place], place);
  }
  for (const [index, { unpack = {}, links = {} }] of (file.sources ?? []).entries()) {
    for (const [from, to] of Object.entries(unpack)) check(['sources', index, 'unpack', from], to);
    for (const place of Object.keys(links)) check(['sources', index, 'links', place], place);
  }
}

function checkUnpack(
  source: BaseFileSource,
  fault: (key: string, message: string, hint?: string) => void,
): void {
  const wanted = Object.keys(source.unpack ?? {});
  const whole = wanted.includes('.');
  if (whole && wanted.length > 1) {
    fault('unpack', '"." is the file itself, so nothing can be unpacked beside it');
  }
  if (source.strip !== undefined && (wanted.length === 0 || whole)) {
    fault('strip', '"strip" counts only with "unpack" of an archive');
  }
  const archive = source.npm !== undefined || source.git !== undefined || archiveName.test(source.name);
  if (wanted.length > 0 && !whole && !archive) {
    fault(
      'unpack',
      `${source.name} does not look like an archive (.tgz, .tar.gz, .tar, .zip, .jar, .war)`,
      'name the source as the archive is called, or write unpack: {".": /absolute/path} for the file itself',
    );
  }
}

function overlap(a: BaseFileSource, b: BaseFileSource): boolean {
  const { architectures } = b;
  if (a.architectures === undefined || architectures === undefined) return true;
  return a.architectures.some((architecture) => architectures.includes(architecture));
}

function checkDeprecation(file: BaseFile, add: Add): void {
  const { deprecation } = file;
  if (deprecation === undefined) return;
  for (const key of ['since', 'sunset'] as const) {
    const day = deprecation[key];
    if (day !== undefined && !isDay(day)) {
      add(['deprecation', key], catalogCodes.deprecation, `there is no day ${day}`);
    }
  }
  const { since, sunset } = deprecation;
  if (since !== undefined && sunset !== undefined && sunset < since) {
    add(['deprecation', 'sunset'], catalogCodes.deprecation, `it ends on ${sunset}, before ${since}`);
  }
}

function isDay(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}
