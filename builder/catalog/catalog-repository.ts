import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ArchiveError } from '../../core/archive/archive-error.ts';
import { UserError } from '../../core/user-error.ts';
import { createContentSpool } from '../../oci/layer/content-spool.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { TarError } from '../../oci/layer/tar-decode.ts';
import { createFileTree, directory, symlink as symlinkEntry } from './file-tree.ts';
import { useGitArchive } from './sources/fetch-git.ts';
import { readArchive } from './sources/read-archive.ts';
import { hashFile } from './sources/source-cache.ts';

/** Plain HTTP is for servers of this machine only: whoever sits in between could write base images. */
const localServer = /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])[:/]/;

/** Whether a catalog is named by the address of a git repository, as opposed to a folder. */
export function isCatalogRepository(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}

/** What is wrong with the address of a catalog's repository. */
export function catalogRepositoryFault(text: string): string | undefined {
  if (!text.startsWith('https://') && !localServer.test(text)) {
    return `"${text}" must begin with https://, or be a folder`;
  }
  if (!URL.canParse(text)) return `"${text}" is no address`;
  const { username, password, hash } = new URL(text);
  if (username !== '' || password !== '')
    return 'the address must hold no user name: git asks its own helpers';
  const ref = hash.slice(1);
  if (ref !== '' && (!/^[A-Za-z0-9][A-Za-z0-9._/+-]*$/.test(ref) || ref.includes('..'))) {
    return `"${ref}" is no branch, tag or commit`;
  }
  return undefined;
}

export interface CatalogRepositoryOptions {
  /** Keeps the last state of each repository. */
  readonly cacheDir: string;
  /** Do not look for a newer state. Default false. */
  readonly offline?: boolean;
  readonly signal: AbortSignal;
}

/**
 * A folder with the files of `https://…#REF` (a branch, a tag or a commit; default: the repository's main branch) as they are now.
 * Errors: UserError when it cannot be fetched, or holds what no catalog needs: links outside of `static/`, special files, 64 MiB.
 */
export async function fetchCatalogRepository(
  address: string,
  { cacheDir, offline = false, signal }: CatalogRepositoryOptions,
): Promise<string> {
  const fault = catalogRepositoryFault(address);
  if (fault !== undefined) throw new UserError(fault);
  const url = new URL(address);
  const revision = url.hash.slice(1) || 'HEAD';
  url.hash = '';
  const top = join(cacheDir, 'catalogs', createHash('sha256').update(address).digest('hex').slice(0, 16));
  const current = join(top, 'current');
  if (offline) {
    const kept = await readlink(current).catch(() => undefined);
    if (kept === undefined)
      throw new UserError(`the catalog ${address} was never fetched, and this is offline`);
    return join(top, kept);
  }
  await mkdir(top, { recursive: true });
  const work = await mkdtemp(join(top, 'fetch-'));
  try {
    const archive = join(work, 'catalog.tar');
    await useGitArchive({ url: url.href, revision }, { folder: work, trusted: true, signal }, (source) =>
      pipeline(limited(source), createWriteStream(archive), { signal }),
    );
    const name = (await hashFile(archive)).slice(0, 16);
    const folder = join(top, name);
    await lay(archive, join(work, 'files'));
    await rename(join(work, 'files'), folder).catch((error: NodeJS.ErrnoException) => {
      // The same files were fetched before; somebody may be reading them.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    const link = join(work, randomBytes(4).toString('hex'));
    await symlink(name, link);
    await rename(link, current);
    return folder;
  } catch (error) {
    signal.throwIfAborted();
    const refused = [UserError, ArchiveError, TarError].some((kind) => error instanceof kind);
    if (!refused) throw error;
    throw new UserError(`the catalog ${address} cannot be fetched: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const largestArchive = 64 * 1024 * 1024;

async function* limited(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > largestArchive) {
      throw new UserError('it is larger than 64 MiB: name large files as sources, with their checksums');
    }
    yield chunk;
  }
}

/**
 * Writes the archive's files below the new folder `to`. Everything is checked before the first byte is written: no path stands twice,
 * lies below a link or a file, or climbs out.
 */
async function lay(archive: string, to: string): Promise<void> {
  const spool = createContentSpool();
  try {
    const tree = createFileTree();
    for await (const { type, path, executable, target, body } of readArchive(archive)) {
      if (path === '') continue;
      for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
        tree.add(directory(path.slice(0, slash)));
      }
      if (type === 'directory') tree.add(directory(path));
      else if (type === 'symlink') tree.add(link(path, target));
      else if (type === 'file') {
        const mode = executable ? 0o755 : 0o644;
        tree.add({ type, path, mode, uid: 0, gid: 0, content: await spool.add(body) });
      } else throw new UserError(`${path} is no plain file`);
    }
    await mkdir(to);
    for (const entry of tree.sorted()) await write(entry, join(to, utf8(entry.path)));
  } finally {
    await spool.close();
  }
}

/** Links belong into an image, where nobody here follows them; anywhere else they would be read as what they point to. */
function link(path: string, target: string): LayerEntry {
  if (!path.split('/').slice(0, -1).includes('static')) {
    throw new UserError(`${utf8(path)} is a link; only below static/ there may be some`);
  }
  return symlinkEntry(path, target);
}

/** Parents come before what they hold: names are sorted. */
async function write(entry: LayerEntry, path: string): Promise<void> {
  if (entry.type === 'directory') await mkdir(path);
  else if (entry.type === 'symlink') await symlink(utf8(entry.target), path);
  else if (entry.type === 'file') {
    const { content, mode } = entry;
    await writeFile(path, content instanceof Uint8Array ? content : content.open(), { flag: 'wx', mode });
  }
}

function utf8(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}
