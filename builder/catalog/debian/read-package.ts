import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { packagePath, spoolEntry } from '../archive-entry.ts';
import { type FileTree, readContent } from '../file-tree.ts';
import { useProgram } from '../run-program.ts';
import type { DebianPackage } from './apt.ts';

/** What dpkg keeps of an installed package. */
export interface InstalledPackage {
  readonly name: string;
  /** The file `control`. */
  readonly control: string;
  /** Further members of the control archive: conffiles, md5sums, maintainer scripts, triggers. */
  readonly members: readonly { readonly name: string; readonly mode: number; readonly text: Buffer }[];
  /** All paths it brings, as dpkg's `.list` has them, with those that were left out. */
  readonly paths: readonly string[];
}

/** Top-level directories that are symlinks into /usr (Debian's merged /usr). */
export const mergedDirectories = ['bin', 'lib', 'lib64', 'sbin'] as const;

/** Adds a package's files to `tree`, at their place in a merged /usr; `excluded` decides about paths without a leading slash. */
export async function readPackage(
  debian: DebianPackage,
  options: {
    readonly tree: FileTree;
    readonly spool: ContentSpool;
    readonly excluded: (path: string) => boolean;
    readonly signal: AbortSignal;
  },
): Promise<InstalledPackage> {
  const { tree, spool, signal } = options;
  const paths: string[] = [];
  await useProgram('dpkg-deb', ['--fsys-tarfile', debian.file], { signal }, async (stdout) => {
    for await (const { entry, body } of readTar(stdout)) {
      const own = packagePath(entry.path);
      paths.push(own === '' ? '/.' : `/${own}`);
      if (own === '' || (entry.type !== 'directory' && options.excluded(own))) continue;
      const path = mergedPath(own);
      const target = entry.type === 'hardlink' ? mergedPath(packagePath(entry.target)) : entry.target;
      tree.add(await spoolEntry(entry, { path, target }, body, spool, tree));
    }
  });
  const { control, members } = await readControl(debian, signal);
  return { name: debian.name, control, members, paths };
}

async function readControl(
  debian: DebianPackage,
  signal: AbortSignal,
): Promise<Pick<InstalledPackage, 'control' | 'members'>> {
  const members: { name: string; mode: number; text: Buffer }[] = [];
  await useProgram('dpkg-deb', ['--ctrl-tarfile', debian.file], { signal }, async (stdout) => {
    for await (const { entry, body } of readTar(stdout, { bytes: 64 * 1024 * 1024 })) {
      if (entry.type !== 'file') continue;
      const text = await readContent({ size: entry.size, sha256: Buffer.alloc(0), open: () => body });
      members.push({ name: packagePath(entry.path), mode: entry.mode, text });
    }
  });
  const control = members.find(({ name }) => name === 'control')?.text.toString() ?? '';
  return { control, members: members.filter(({ name }) => name !== 'control') };
}

export function mergedPath(path: string): string {
  const [first = ''] = path.split('/', 1);
  return (mergedDirectories as readonly string[]).includes(first) ? `usr/${path}` : path;
}
