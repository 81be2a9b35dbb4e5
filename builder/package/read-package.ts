import { ArchiveError } from '../../core/archive/archive-error.ts';
import { type ArchiveLimits, resolveLimits } from '../../core/archive/archive-limits.ts';
import { entryPath, shownPath } from '../../core/archive/entry-path.ts';
import { gunzip } from '../../core/archive/gunzip.ts';
import type { ZipEntry } from '../../core/archive/zip-directory.ts';
import { openZip, type ZipReader } from '../../core/archive/zip-reader.ts';
import { TarError } from '../../oci/layer/tar-decode.ts';
import { readTar, type TarEntry } from '../../oci/layer/tar-reader.ts';
import type { CommitWriter } from '../git/fast-import.ts';
import { createPackageTree, type PackageTree } from './package-tree.ts';
import type { SpooledPackage } from './spool-package.ts';

/** An archive whose contents are on their way into a commit. */
export interface ReadArchive {
  readonly tree: PackageTree;
  /** Small files near the top, by their path in the archive: what proposals look into. */
  readonly texts: ReadonlyMap<string, string>;
}

export interface ReadOptions {
  readonly commit: Pick<CommitWriter, 'content'>;
  readonly limits: ArchiveLimits;
  /** Names of the files whose text is wanted, at the top or in a directory at the top. */
  readonly wanted: readonly string[];
}

/** What is kept of a wanted file. */
const longestText = 256 * 1024;
/** A link's content is its target. */
const longestTarget = 4095;

/** Reads a .tar, .tgz or .zip, whichever of them the bytes are. Errors: ArchiveError naming what is wrong; those of `commit`. */
export async function readArchive(spooled: SpooledPackage, options: ReadOptions): Promise<ReadArchive> {
  const head = (await spooled.read(0, Math.min(spooled.size, 512))).toString('latin1');
  if (head.startsWith('\x1f\x8b')) return readTarball(gunzip(spooled.stream(), options.limits), options);
  // A program in front of it, that unpacks it, does no harm.
  if (head.startsWith('PK\x03\x04') || head.startsWith('PK\x05\x06') || head.startsWith('#!'))
    return readZip(spooled, options);
  const other = foreignFormats.find(([magic]) => head.startsWith(magic));
  // A tar begins with a file's name, which could be any of these.
  if (other !== undefined && !head.startsWith('ustar', 257)) {
    throw new ArchiveError(
      `it is compressed by ${other[1]}, which is not read; pack it with gzip (tar czf) or as zip`,
    );
  }
  return readTarball(spooled.stream(), options);
}

/** Reads a .zip, .war or .jar. Errors as `readArchive`. */
export async function readZip(spooled: SpooledPackage, options: ReadOptions): Promise<ReadArchive> {
  const zip = await openZip(spooled, options.limits);
  const tree = createPackageTree();
  const keep = createTextKeeper(options.wanted);
  for (const entry of zip.entries) {
    const path = tree.claim(entry);
    if (path === '') continue;
    if (entry.type === 'symlink') {
      const target = await linkTarget(zip, entry);
      await placeLink(tree, path, target, options);
    } else {
      const content = await options.commit.content(entry.size, keep.pass(path, entry.size, zip.read(entry)));
      tree.place(path, { kind: isExecutable(entry.mode) ? 'executable' : 'file', content });
    }
  }
  return { tree, texts: keep.texts };
}

async function readTarball(source: AsyncIterable<Uint8Array>, options: ReadOptions): Promise<ReadArchive> {
  const tree = createPackageTree();
  const keep = createTextKeeper(options.wanted);
  const { entries, bytes } = resolveLimits(options.limits);
  try {
    // To its end, so that a checksum behind it is looked at; how much that can be is bounded by the source.
    for await (const { entry, body } of readTar(source, { entries, bytes, readToEnd: true })) {
      const path = tree.claim(entry);
      if (path === '') continue;
      if (entry.type === 'symlink') await placeLink(tree, path, entry.target, options);
      else if (entry.type === 'hardlink') placeHardLink(tree, path, entry);
      else {
        const content = await options.commit.content(entry.size, keep.pass(path, entry.size, body));
        tree.place(path, { kind: isExecutable(entry.mode) ? 'executable' : 'file', content });
      }
    }
  } catch (error) {
    if (error instanceof TarError)
      throw new ArchiveError(`it is no tar archive that can be read: ${error.message}`, { cause: error });
    throw error;
  }
  return { tree, texts: keep.texts };
}

async function placeLink(
  tree: PackageTree,
  path: string,
  target: string,
  options: ReadOptions,
): Promise<void> {
  const bytes = Buffer.from(target, 'latin1');
  if (bytes.length > longestTarget)
    throw new ArchiveError(`entry ${shownPath(path)}: its target has more than ${longestTarget} bytes`);
  const content = await options.commit.content(bytes.length, iterate(bytes));
  tree.place(path, { kind: 'symlink', content, target });
}

/** A second file with the same content: git knows no hard links, and images need none. */
function placeHardLink(tree: PackageTree, path: string, entry: TarEntry): void {
  const original = tree.get(entryPath(entry.target));
  if (original === undefined || original.kind === 'symlink') {
    throw new ArchiveError(
      `entry ${shownPath(entry.path)}: it is a hard link to ${shownPath(entry.target)}, which is no file before it in the archive`,
    );
  }
  tree.place(path, { kind: original.kind, content: original.content });
}

async function linkTarget(zip: ZipReader, entry: ZipEntry): Promise<string> {
  if (entry.size > longestTarget)
    throw new ArchiveError(`entry ${shownPath(entry.path)}: its target has more than ${longestTarget} bytes`);
  const parts: Buffer[] = [];
  for await (const chunk of zip.read(entry)) parts.push(chunk);
  return Buffer.concat(parts).toString('latin1');
}

/** Owner's right to execute: what git keeps of a mode. */
function isExecutable(mode: number): boolean {
  return (mode & 0o100) !== 0;
}

interface TextKeeper {
  readonly texts: ReadonlyMap<string, string>;
  /** The same bytes; where the file is wanted, they are kept. */
  pass(path: string, size: number, body: AsyncIterable<Buffer>): AsyncIterable<Buffer>;
}

function createTextKeeper(wanted: readonly string[]): TextKeeper {
  const texts = new Map<string, string>();
  let firstTop: string | undefined;
  return {
    texts,
    pass(path, size, body) {
      const parts = path.split('/');
      firstTop ??= parts[0];
      const near = parts.length === 1 || (parts.length === 2 && parts[0] === firstTop);
      if (!near || size > longestText || !wanted.includes(parts.at(-1) as string)) return body;
      return keeping(body, (bytes) => texts.set(path, bytes.toString('utf8')));
    },
  };
}

async function* keeping(
  body: AsyncIterable<Buffer>,
  done: (bytes: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  const parts: Buffer[] = [];
  for await (const chunk of body) {
    parts.push(chunk);
    yield chunk;
  }
  done(Buffer.concat(parts));
}

async function* iterate(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (bytes.length > 0) yield bytes;
}

/** First bytes, as latin1. */
const foreignFormats: readonly (readonly [string, string])[] = [
  ['\xfd7zXZ', 'xz'],
  ['BZh', 'bzip2'],
  ['\x28\xb5\x2f\xfd', 'zstd'],
  ['7z\xbc\xaf', '7-Zip'],
  ['Rar!', 'RAR'],
];
