import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { isLfsPointer, maxLfsPointerBytes } from '../builder/plan/lfs-pointer.ts';
import type { OddFiles } from '../builder/plan/source-faults.ts';
import type { CliContext } from './context.ts';

/** Files that are looked into; a folder with more is told of as far as it was looked at. */
const mostFiles = 200_000;

/**
 * Submodules and files of Git LFS of a folder, as a push of it would bring them: in a git repository what git knows of, else what lies there.
 * Paths are relative to the folder. Never fails: it is advice, and the build checks again.
 */
export async function findOddFiles(context: CliContext, folder: string): Promise<OddFiles> {
  const tracked = isInRepository(folder)
    ? await git(context, folder, ['ls-files', '-z', '--stage'])
    : undefined;
  if (tracked === undefined) return lookThrough(folder);
  const submodules: string[] = [];
  const names: string[] = [];
  for (const line of tracked) {
    const [, mode, name = ''] = /^([0-7]+) [0-9a-f]+ \d\t(.*)$/s.exec(line) ?? [];
    if (mode === '160000') submodules.push(name);
    else if (mode !== undefined) names.push(name);
  }
  const others = (await git(context, folder, ['ls-files', '-z', '--others', '--exclude-standard'])) ?? [];
  // Where Git LFS is installed here, the files themselves lie in the folder, but a push brings pointers.
  const filtered = (await git(context, folder, ['ls-files', '-z', '--', ':(attr:filter=lfs)'])) ?? [];
  const pointers = new Set(filtered);
  for (const name of [...names, ...others].slice(0, mostFiles)) {
    if (!pointers.has(name) && (await isPointer(join(folder, name)))) pointers.add(name);
  }
  return { submodules, pointers: [...pointers] };
}

function isInRepository(folder: string): boolean {
  const parent = dirname(folder);
  return existsSync(join(folder, '.git')) || (parent !== folder && isInRepository(parent));
}

async function lookThrough(folder: string): Promise<OddFiles> {
  const submodules: string[] = [];
  const pointers: string[] = [];
  const waiting = [folder];
  let seen = 0;
  for (
    let directory = waiting.pop();
    directory !== undefined && seen < mostFiles;
    directory = waiting.pop()
  ) {
    for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
      seen += 1;
      const path = join(directory, entry.name);
      if (entry.name === '.git') {
        // A repository within the folder would be committed as a link to its commit.
        if (directory !== folder) submodules.push(relative(folder, directory));
      } else if (entry.isDirectory()) waiting.push(path);
      else if (entry.isFile() && (await isPointer(path))) pointers.push(relative(folder, path));
    }
  }
  return { submodules, pointers: pointers.toSorted() };
}

async function isPointer(path: string): Promise<boolean> {
  try {
    const info = await lstat(path);
    if (!info.isFile() || info.size >= maxLfsPointerBytes) return false;
    await using file = await open(path, 'r');
    const { bytesRead, buffer } = await file.read(Buffer.alloc(maxLfsPointerBytes));
    return isLfsPointer(buffer.subarray(0, bytesRead));
  } catch {
    return false;
  }
}

/** The parts of its output; undefined where there is no git or the folder is in no repository. */
function git(
  context: CliContext,
  folder: string,
  args: readonly string[],
): Promise<readonly string[] | undefined> {
  const own = Object.entries(context.env).filter(([key]) => !key.startsWith('GIT_'));
  const env = { ...Object.fromEntries(own), GIT_OPTIONAL_LOCKS: '0' };
  return new Promise((resolve) => {
    execFile('git', args, { cwd: folder, env, maxBuffer: 256 * 1024 ** 2 }, (error, stdout) => {
      resolve(error === null ? stdout.split('\0').filter((part) => part !== '') : undefined);
    });
  });
}
