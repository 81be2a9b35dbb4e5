import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { UserError } from '../../core/user-error.ts';
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../oci/digest.ts';
import type { Indexed, IndexedBlob, IndexedDocument } from './cache-index.ts';
import { isWhole, pieceBytes } from './cache-index.ts';
import { documentAbout } from './documents.ts';

/**
 * Where things lie: `blobs/<aa>/<algorithm>-<hex>/<size>.<slice>.<piece>` with a file `verified` beside the pieces of a blob that was compared with its digest,
 * `documents/<aa>/<sha256 of the key>`, and `tmp/` for what is being written. Names say all that the index needs, so that a file is either there and right or
 * not there, whenever the process or the machine died.
 */
export interface CacheFolder {
  piecePath(blob: { digest: Digest; size: number; slice: number }, piece: number): string;
  blobPath(digest: Digest): string;
  verifiedPath(digest: Digest): string;
  documentPath(key: string): string;
  temporaryPath(): string;
  /** Moves a finished file to its place, and makes the directory for it. */
  place(temporary: string, path: string): void;
  /** What is there, the longest unused first; files that are none of ours, or not whole, are removed. */
  load(): Promise<Indexed[]>;
}

/** How files are laid out; a folder of another version is emptied: a cache can be filled again. */
const version = 'embedded 1\n';
/** Directories looked at before others get their turn. */
const perTurn = 200;

/** Errors: UserError when the folder cannot be used, or holds something else. */
export function createCacheFolder(root: string): CacheFolder {
  prepare(root);
  const folder: CacheFolder = {
    piecePath: ({ digest, size, slice }, piece) => join(folder.blobPath(digest), `${size}.${slice}.${piece}`),
    blobPath: (digest) =>
      join(root, 'blobs', digestHex(digest).slice(0, 2), `${digestAlgorithm(digest)}-${digestHex(digest)}`),
    verifiedPath: (digest) => join(folder.blobPath(digest), 'verified'),
    documentPath(key) {
      const name = createHash('sha256').update(key).digest('hex');
      return join(root, 'documents', name.slice(0, 2), name);
    },
    temporaryPath: () => join(root, 'tmp', randomUUID()),
    place(temporary, path) {
      try {
        renameSync(temporary, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        mkdirSync(join(path, '..'), { recursive: true });
        renameSync(temporary, path);
      }
    },
    async load() {
      const found: Indexed[] = [];
      let turn = 0;
      for (const kind of ['blobs', 'documents'] as const) {
        for (const part of names(join(root, kind))) {
          for (const name of names(join(root, kind, part))) {
            const path = join(root, kind, part, name);
            const entry = kind === 'blobs' ? loadBlob(path, name) : loadDocument(path, name, folder);
            if (entry === undefined) rmSync(path, { recursive: true, force: true });
            else found.push(entry);
            if (++turn % perTurn === 0) await nextTurn();
          }
        }
      }
      return found.toSorted((a, b) => a.used - b.used);
    },
  };
  return folder;
}

function prepare(root: string): void {
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const mark = join(root, 'format');
    const written = statSync(mark, { throwIfNoEntry: false }) && readFileSync(mark, 'utf8');
    if (written === undefined && names(root).length > 0) {
      throw new UserError(
        `${root} holds something else than a pool's cache: give cache.folder a folder of its own`,
      );
    }
    if (written !== version) {
      for (const name of ['blobs', 'documents']) rmSync(join(root, name), { recursive: true, force: true });
    }
    rmSync(join(root, 'tmp'), { recursive: true, force: true });
    for (const name of ['blobs', 'documents', 'tmp']) mkdirSync(join(root, name), { recursive: true });
    if (written !== version) writeFileSync(mark, version);
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    throw new UserError(`the cache's folder ${root} cannot be used: ${(cause as Error).message}`, { cause });
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function loadBlob(path: string, name: string): IndexedBlob | undefined {
  const digest = name.replace('-', ':');
  if (!isDigest(digest)) return undefined;
  let blob: IndexedBlob | undefined;
  let verified = false;
  for (const file of names(path)) {
    if (file === 'verified') {
      verified = true;
      continue;
    }
    const match = /^([0-9]{1,15})\.([0-9]{1,12})\.([0-9]{1,9})$/.exec(file);
    const [size, slice, piece] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])];
    const length = statSync(join(path, file), { throwIfNoEntry: false })?.size;
    blob ??= {
      kind: 'blob',
      digest,
      size,
      slice,
      pieces: new Set(),
      verified,
      removals: 0,
      used: usedAt(path),
    };
    const right = match !== null && slice > 0 && size === blob.size && slice === blob.slice;
    if (right && length === pieceBytes(blob, piece) && length > 0) blob.pieces.add(piece);
    else {
      verified = false;
      rmSync(join(path, file), { recursive: true, force: true });
    }
  }
  if (blob === undefined || blob.pieces.size === 0) return undefined;
  blob.verified = verified && isWhole(blob);
  // Else what comes to be whole later would be taken for compared after the next start.
  if (!blob.verified) rmSync(join(path, 'verified'), { force: true });
  return blob;
}

function loadDocument(path: string, name: string, folder: CacheFolder): IndexedDocument | undefined {
  const about = documentAbout(path);
  if (about === undefined || folder.documentPath(about.key) !== path || !path.endsWith(name))
    return undefined;
  return { ...about, used: usedAt(path) };
}

function usedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
