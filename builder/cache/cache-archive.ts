import { posix } from 'node:path';
import { readTar, type TarEntry } from '../../oci/layer/tar-reader.ts';
import { tarEnd, tarFile, tarHeader } from '../engines/docker/tar-file.ts';
import { refusePath } from '../plan/select-source.ts';
import type { SecretFinder } from '../secrets/find-secret.ts';

export interface CacheLimits {
  /** Bytes of all files, before they are compressed. */
  readonly bytes: number;
  readonly entries: number;
}

/** The build goes on without. The message completes "not kept: …". */
export class CacheNotKept extends Error {
  override readonly name = 'CacheNotKept';
  readonly reason: 'empty' | 'too large' | 'secret';
  constructor(reason: CacheNotKept['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A folder below the place that a cache is in, as the engine's archive: its names start with the last part of `path`. Undefined = there is none. */
export interface CacheFolder {
  readonly path: string;
  open(): Promise<AsyncIterable<Uint8Array> | undefined>;
}

/**
 * Folders of one place as one archive of files, directories and links with names relative to it, all of `owner`. Whatever else a build put there stays behind: it
 * must do no harm to the next one. Errors: CacheNotKept, TarError.
 */
export async function* cacheArchive(
  folders: readonly CacheFolder[],
  options: {
    readonly owner: number;
    readonly limits: CacheLimits;
    /** A cache is for builds to come, which may have no right to the secrets of this one. */
    readonly finder?: SecretFinder | undefined;
  },
): AsyncGenerator<Buffer, void, undefined> {
  const { owner, limits, finder } = options;
  const tell = (secret: string): never => {
    throw new CacheNotKept('secret', `it holds the secret "${secret}"`);
  };
  const ids = { uid: owner, gid: owner };
  const places = new Map<string, TarEntry['type']>();
  let bytes = 0;
  for (const folder of folders) {
    const archive = await folder.open();
    if (archive === undefined) continue;
    for (const parent of parentsOf(folder.path)) {
      if (places.has(parent)) continue;
      places.set(parent, 'directory');
      yield tarHeader({ type: 'directory', path: parent, mode: 0o755, ...ids });
    }
    const base = posix.dirname(folder.path);
    const below = (name: string): string => posix.join(base, name.replace(/\/+$/, ''));
    for await (const { entry, body } of readTar(archive)) {
      const path = below(entry.path);
      // A file below a link would be written through it when the archive is laid out.
      if (refusePath(path) !== undefined || places.has(path) || settings.has(path)) continue;
      if (parentsOf(path).some((parent) => places.get(parent) !== 'directory')) continue;
      const mode = entry.mode & 0o777;
      bytes += entry.size;
      // Before anything of it is read.
      if (bytes > limits.bytes) throw new CacheNotKept('too large', `it has more than ${limits.bytes} bytes`);
      if (places.size >= limits.entries)
        throw new CacheNotKept('too large', `it has more than ${limits.entries} files`);
      if (entry.type === 'directory') {
        // The next build must be able to add to it.
        yield tarHeader({ type: 'directory', path, mode: mode | 0o700, ...ids });
      } else if (entry.type === 'file') {
        const content = finder === undefined ? body : finder.inContent(body, tell);
        yield* tarFile(path, content, { size: entry.size, mode, owner });
      } else if (entry.type === 'symlink') {
        yield tarHeader({ type: 'symlink', path, target: entry.target, ...ids });
      } else if (entry.type === 'hardlink' && places.get(below(entry.target)) === 'file') {
        const target = below(entry.target);
        yield tarHeader({ type: 'hardlink', path, target, mode, sha256: noHash, ...ids });
      } else {
        continue;
      }
      places.set(path, entry.type);
    }
  }
  if (bytes === 0) throw new CacheNotKept('empty', 'nothing was fetched');
  yield tarEnd();
}

const noHash = new Uint8Array(32);

/** Each build has its own: which proxy and mirrors to use, and who it is there. */
const settings: ReadonlySet<string> = new Set([
  '.config/pip/pip.conf',
  '.git-credentials',
  '.gradle/gradle.properties',
  '.m2/settings-security.xml',
  '.m2/settings.xml',
  '.netrc',
  '.npmrc',
]);

/** `a`, `a/b` of `a/b/c`. */
function parentsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(0, -1).map((_, index) => parts.slice(0, index + 1).join('/'));
}
