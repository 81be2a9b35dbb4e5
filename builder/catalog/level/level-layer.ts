import { UserError } from '../../../core/user-error.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { LayerContent, LayerEntry, LayerFile } from '../../../oci/layer/entry.ts';
import { readTar, type TarEntry } from '../../../oci/layer/tar-reader.ts';
import type { FileChange } from '../../engines/level-sandbox.ts';
import { readContent } from '../file-tree.ts';
import { normaliseKeyStore } from './java-keystore.ts';
import { isLeftOut } from './level-paths.ts';
import { adjustPythonCaches } from './python-cache.ts';

export interface LevelLayerInput {
  readonly changes: readonly FileChange[];
  /** See `LevelResult.open`. */
  open(): Promise<AsyncIterable<Uint8Array>>;
  readonly spool: ContentSpool;
  /** Files that may be setuid or setgid, paths without a leading slash: those that Debian packages bring so. */
  privileged(): Promise<ReadonlySet<string>>;
}

const mostEntries = 2_000_000;
const mostBytes = 64 * 1024 ** 3;

/** Certificates of all authorities take 150 KB. */
const largestKeyStore = 4 * 1024 * 1024;

/**
 * What a level's run changed, as the entries of one layer in byte order: whiteouts for what is gone, without what a run leaves behind by the
 * way. Equal results give equal entries, whenever and wherever they were made. Errors: UserError for what may not be part of an image.
 */
export async function readLevelLayer(input: LevelLayerInput): Promise<readonly LayerEntry[]> {
  const kinds = new Map(input.changes.map(({ path, kind }) => [rawPath(path), kind]));
  const files = await readFiles(input, kinds);
  const entries = new Map(files);
  for (const [path, kind] of kinds) {
    if (isLeftOut(path)) continue;
    if (kind !== 'removed') {
      if (!files.has(path) && !isLeftOut(path, 'file')) throw notHandedOut(path);
    } else if (files.has(path)) {
      // Replaced: nothing of the parent's directory may shine through.
      addWhiteout(entries, `${path}/.wh..wh..opq`);
    } else if (!parents(path).some((parent) => kinds.get(parent) === 'removed')) {
      const slash = path.lastIndexOf('/') + 1;
      addWhiteout(entries, `${path.slice(0, slash)}.wh.${path.slice(slash)}`);
    }
  }
  await checkPrivileged(entries.values(), input);
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The entries of all paths that are there and differ, and of the directories on the way to them. */
async function readFiles(
  input: LevelLayerInput,
  kinds: ReadonlyMap<string, FileChange['kind']>,
): Promise<Map<string, LayerEntry>> {
  // What a path is stands in the archive only; fewer directories are left out than files.
  const wanted = new Set([...kinds.keys()].filter((path) => !isLeftOut(path, 'directory')));
  // Engines unpack a layer by itself and make directories that it does not list with modes of their own.
  const ways = new Set([...wanted].flatMap(parents));
  const entries = new Map<string, LayerEntry>();
  const links = new Map<string, string[]>();
  for await (const { entry, body } of readTar(await input.open(), {
    entries: mostEntries,
    bytes: mostBytes,
  })) {
    const path = entry.path.replace(/^(?:\.?\/)+|\/+$/g, '');
    if (path.startsWith('.wh.') || path.includes('/.wh.'))
      throw new UserError(`/${path} has a name that layers cannot hold`);
    if (!(wanted.has(path) || (ways.has(path) && entry.type === 'directory'))) continue;
    if (isLeftOut(path, entry.type)) continue;
    if (entry.type === 'hardlink') {
      const target = entry.target.replace(/^(?:\.?\/)+/, '');
      links.set(target, [...(links.get(target) ?? []), path]);
    } else {
      entries.set(path, await toEntry(path, entry, body, input.spool));
    }
  }
  await addLinks(entries, links, input);
  await adjustPythonCaches(entries, input.spool);
  return entries;
}

async function toEntry(
  path: string,
  entry: TarEntry,
  body: AsyncIterable<Buffer>,
  spool: ContentSpool,
): Promise<LayerEntry> {
  const { uid, gid } = entry;
  const mode = entry.mode & 0o7777;
  switch (entry.type) {
    case 'file':
      return { type: 'file', path, mode, uid, gid, content: await readBody(path, entry.size, body, spool) };
    case 'directory':
      return { type: 'directory', path, mode, uid, gid };
    case 'symlink':
      return { type: 'symlink', path, target: entry.target, uid, gid };
    case 'hardlink':
    case 'character device':
    case 'block device':
    case 'fifo':
      throw new UserError(
        `static.sh made /${path}, a ${entry.type}: only files, directories and links can be part of an image`,
      );
  }
}

async function readBody(
  path: string,
  size: number,
  body: AsyncIterable<Buffer>,
  spool: ContentSpool,
): Promise<Uint8Array | LayerContent> {
  if (!/(?:^|\/)(?:java\/)?cacerts$/.test(path) || size > largestKeyStore) return spool.add(body);
  const store = await readContent({ size, sha256: Buffer.alloc(0), open: () => body });
  return normaliseKeyStore(store) ?? store;
}

/**
 * Several names of one file: the first in order of name carries the content and the others link to it. When the name that the archive gave the
 * content is none of ours (the parent's, and only a further name is new), the archive is read once more for it.
 */
async function addLinks(
  entries: Map<string, LayerEntry>,
  links: ReadonlyMap<string, readonly string[]>,
  input: LevelLayerInput,
): Promise<void> {
  const missing = new Set([...links.keys()].filter((target) => !entries.has(target)));
  const originals = new Map<string, LayerFile>();
  for (const target of links.keys()) {
    const entry = entries.get(target);
    if (entry?.type === 'file') originals.set(target, entry);
  }
  if (missing.size > 0) {
    for await (const { entry, body } of readTar(await input.open(), {
      entries: mostEntries,
      bytes: mostBytes,
    })) {
      const path = entry.path.replace(/^(?:\.?\/)+/, '');
      if (!missing.has(path) || entry.type !== 'file') continue;
      const file = await toEntry(path, entry, body, input.spool);
      if (file.type === 'file') originals.set(path, file);
    }
  }
  for (const [target, names] of links) {
    const original = originals.get(target);
    if (original === undefined) throw notHandedOut(names[0] ?? target);
    const [first = '', ...rest] = [...names, ...(missing.has(target) ? [] : [target])].sort((a, b) =>
      a < b ? -1 : 1,
    );
    const { mode, uid, gid, content } = original;
    const sha256 = content instanceof Uint8Array ? undefined : content.sha256;
    entries.set(first, { ...original, path: first });
    for (const path of rest) {
      entries.set(
        path,
        sha256 === undefined
          ? { ...original, path }
          : { type: 'hardlink', path, target: first, mode, uid, gid, sha256 },
      );
    }
  }
}

async function checkPrivileged(entries: Iterable<LayerEntry>, input: LevelLayerInput): Promise<void> {
  const found: string[] = [];
  for (const entry of entries) {
    if ((entry.type === 'file' || entry.type === 'hardlink') && (entry.mode & 0o6000) !== 0)
      found.push(entry.path);
  }
  if (found.length === 0) return;
  const allowed = await input.privileged();
  const refused = found.find((path) => !allowed.has(path));
  if (refused === undefined) return;
  throw new UserError(
    `static.sh made /${text(refused)} setuid or setgid: only Debian packages may bring such files; take the bit away (chmod ug-s)`,
  );
}

function addWhiteout(entries: Map<string, LayerEntry>, path: string): void {
  entries.set(path, { type: 'file', path, mode: 0o644, uid: 0, gid: 0, content: new Uint8Array() });
}

/** Sockets are in no archive; and the engine lists names as text, so one that is not UTF-8 cannot be found again. */
function notHandedOut(path: string): UserError {
  return new UserError(
    `static.sh left /${text(path)}, which cannot be part of an image: it is a socket, or its name is not UTF-8`,
  );
}

function parents(path: string): string[] {
  const found: string[] = [];
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1))
    found.push(path.slice(0, slash));
  return found;
}

/** Bytes as latin1, as everywhere in layers. */
function rawPath(path: string): string {
  return Buffer.from(path.replace(/^\/+/, '')).toString('latin1');
}

function text(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}
