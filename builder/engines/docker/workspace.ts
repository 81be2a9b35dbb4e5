import { buffer } from 'node:stream/consumers';
import { isLfsPointer, maxLfsPointerBytes } from '../../plan/lfs-pointer.ts';
import type { SourceEntry, SourceTree } from '../../plan/source-tree.ts';
import { tarEnd, tarFile, tarHeader } from './tar-file.ts';

/** Runs `build:` commands and owns the workspace; the user and group `app` of all base images. */
export const buildUser = 10_001;

export interface WorkspaceOptions {
  /** Name of the workspace's own directory. */
  readonly root: string;
  /** Told of each file that is a Git LFS pointer, by its raw path; may throw. */
  readonly onPointer?: (path: string) => void;
}

/**
 * The source as a tar for the parent of the workspace: everything belongs to the build user, the workspace's own directory `root` included.
 * Written while git reads it; names are raw bytes.
 */
export async function* workspaceArchive(
  source: SourceTree,
  entries: readonly SourceEntry[],
  { root, onPointer = () => {} }: WorkspaceOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const owner = { uid: buildUser, gid: buildUser };
  yield tarHeader({ type: 'directory', path: root, mode: 0o755, ...owner });
  const directories = new Set<string>();
  for await (const { entry, size, body } of source.read(entries)) {
    for (const parent of parents(entry.path)) {
      if (directories.has(parent)) continue;
      directories.add(parent);
      const path = `${root}/${parent}`;
      yield tarHeader({ type: 'directory', path, mode: 0o755, ...owner });
    }
    const path = `${root}/${entry.path}`;
    if (entry.kind === 'symlink') {
      yield tarHeader({ type: 'symlink', path, target: await linkTarget(body, size), ...owner });
    } else {
      const mode = entry.kind === 'executable' ? 0o755 : 0o644;
      const content = size < maxLfsPointerBytes ? await buffer(body) : body;
      if (Buffer.isBuffer(content) && isLfsPointer(content)) onPointer(entry.path);
      yield* tarFile(path, content, { size, mode, owner: buildUser });
    }
  }
  yield tarEnd();
}

async function linkTarget(body: AsyncIterable<Buffer>, size: number): Promise<string> {
  // PATH_MAX: no file system takes a longer target.
  if (size === 0 || size > 4_096) throw new Error(`a symbolic link's target has ${size} bytes`);
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
}

function* parents(path: string): Generator<string, void, undefined> {
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    yield path.slice(0, slash);
  }
}
