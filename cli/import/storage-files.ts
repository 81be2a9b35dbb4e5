import { constants } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';

/**
 * Files of a docker-registry storage folder, only ever read. Whoever can push there, or has the disk, decides what lies in it: so nothing
 * is followed out of the folder, and nothing but plain files is opened.
 */
export interface StorageFiles {
  /** The folder that holds `blobs` and `repositories`, without symbolic links. */
  readonly root: string;
  /** Undefined = not there. The caller closes it. Errors: OciError UNKNOWN for what cannot be read or is no plain file. */
  open(path: string): Promise<{ readonly handle: FileHandle; readonly size: number } | undefined>;
  /** The digest that a link file holds; undefined = not there. Errors: OciError UNKNOWN. */
  readLink(path: string): Promise<Digest | undefined>;
  /** As errors and notices name it. */
  name(path: string): string;
}

/** `sha512:` and 128 digits, and a line end that somebody's editor added. */
const maxLinkBytes = 160;

/** `folder` is what docker-registry's `rootdirectory` says, or any folder below it down to `v2`. Errors: UserError. */
export async function openStorageFiles(folder: string): Promise<StorageFiles> {
  const root = await findRoot(folder);

  const files: StorageFiles = {
    root,
    name: (path) => relative(root, path),
    async open(path) {
      let handle: FileHandle;
      try {
        const parent = dirname(path);
        if ((await realpath(parent)) !== parent)
          throw unreadable(path, 'a folder above it is a symbolic link');
        // Opening a pipe would wait for its other end.
        handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      } catch (error) {
        if (error instanceof OciError) throw error;
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
        throw unreadable(path, code === 'ELOOP' ? 'it is a symbolic link' : message, error);
      }
      const found = await handle.stat();
      if (found.isFile()) return { handle, size: found.size };
      await handle.close();
      throw unreadable(path, 'it is no plain file');
    },
    async readLink(path) {
      const file = await files.open(path);
      if (file === undefined) return undefined;
      try {
        const { buffer, bytesRead } = await file.handle.read(Buffer.alloc(maxLinkBytes), 0, maxLinkBytes, 0);
        const text = buffer.toString('latin1', 0, bytesRead).trim();
        if (file.size <= maxLinkBytes && isDigest(text)) return text;
        throw unreadable(path, 'it holds no digest');
      } finally {
        await file.handle.close();
      }
    },
  };
  return files;

  function unreadable(path: string, reason: string, cause?: unknown): OciError {
    return new OciError('UNKNOWN', { message: `${relative(root, path)}: ${reason}`, cause });
  }
}

async function findRoot(folder: string): Promise<string> {
  let top: string;
  try {
    top = await realpath(folder);
  } catch (cause) {
    throw new UserError(`cannot read ${folder}: ${(cause as Error).message}`, { cause });
  }
  for (const below of ['docker/registry/v2', '.', 'registry/v2', 'v2']) {
    const candidate = join(top, below);
    const inside = ['blobs', 'repositories'].map((name) => join(candidate, name));
    const found = await Promise.all(inside.map(isFolder));
    if (found.some((each) => !each)) continue;
    for (const path of inside) {
      if ((await realpath(path)) === path) continue;
      throw new UserError(`${path} leads out of the folder by a symbolic link; mount it there instead`);
    }
    return candidate;
  }
  throw new UserError(
    `${folder} is no docker-registry storage: there is no docker/registry/v2 with blobs and repositories in it`,
  );
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw new UserError(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
