import { UserError } from '../../core/user-error.ts';
import type { ContentSpool } from '../../oci/layer/content-spool.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import type { TarEntry } from '../../oci/layer/tar-reader.ts';
import type { FileTree } from './file-tree.ts';

/**
 * A member of a package that we verified, under `path`, with its own mode and owner. Errors: UserError for devices and for
 * hard links to what is not in `tree`.
 */
export async function spoolEntry(
  entry: TarEntry,
  place: { readonly path: string; readonly target: string },
  body: AsyncIterable<Buffer>,
  spool: ContentSpool,
  tree: FileTree,
): Promise<LayerEntry> {
  const { path, target } = place;
  const { mode, uid, gid } = entry;
  switch (entry.type) {
    case 'file':
      return { type: 'file', path, mode, uid, gid, content: await spool.add(body) };
    case 'directory':
      return { type: 'directory', path, mode, uid, gid };
    case 'symlink':
      return { type: 'symlink', path, target, uid, gid };
    case 'hardlink': {
      // A second file rather than a link: sorted by name, the link could stand before what it names.
      const original = tree.get(target);
      if (original?.type !== 'file') throw new UserError(`/${path} links to /${target}, which is no file`);
      return { ...original, path };
    }
    case 'character device':
    case 'block device':
    case 'fifo':
      throw new UserError(`a package brings a ${entry.type}: /${path}`);
  }
}

/** Parts without `.`, empty ones and a leading slash. Errors: UserError for `..`. */
export function packagePath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new UserError(`a package brings the path ${JSON.stringify(path)}`);
  return parts.join('/');
}
