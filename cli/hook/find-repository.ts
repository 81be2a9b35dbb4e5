import { execFile } from 'node:child_process';
import { realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { UserError } from '../../core/user-error.ts';
import { isRepositoryName } from '../../oci/reference.ts';

export interface HookedRepository {
  readonly kind: 'git' | 'svn';
  /** Absolute; of git, the folder with `objects` and `refs`. */
  readonly path: string;
  readonly hooks: string;
  /** Where the spool is. */
  readonly home: string;
}

const execute = promisify(execFile);

/** The git or Subversion repository at `path`. Errors: UserError. */
export async function findRepository(cwd: string, path: string): Promise<HookedRepository> {
  const folder = await realpath(resolve(cwd, path)).catch((cause: unknown) => {
    throw new UserError(`cannot read ${path}: ${(cause as Error).message}`, { cause });
  });
  if ((await isFolder(join(folder, 'db'))) && (await isFolder(join(folder, 'hooks')))) {
    return { kind: 'svn', path: folder, hooks: join(folder, 'hooks'), home: join(folder, 'brickyard') };
  }
  const gitDir = (await git(folder, 'rev-parse', '--absolute-git-dir')).trim();
  const hooks = resolve(gitDir, (await git(gitDir, 'rev-parse', '--git-path', 'hooks')).trim());
  if (!hooks.startsWith(`${gitDir}/`)) {
    throw new UserError(
      `core.hooksPath sends git to ${hooks}, whose hooks run for other repositories too: unset it for this one, or install there by hand`,
    );
  }
  return { kind: 'git', path: gitDir, hooks, home: join(gitDir, 'brickyard') };
}

/** Runs git in a repository that may be another account's. Errors: UserError. */
export async function git(folder: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await execute('git', ['-c', 'safe.directory=*', ...args], { cwd: folder });
    return stdout;
  } catch (cause) {
    const { stderr = '', message } = cause as Error & { stderr?: string };
    throw new UserError(`${folder} is no git or Subversion repository: ${stderr.trim() || message}`, {
      cause,
    });
  }
}

/** `/srv/git/shop/web.git` → `shop/web`; undefined where that is no name. */
export function appOfPath(path: string): string | undefined {
  const parts = path.replace(/\/\.git$/, '').split('/');
  const name = `${parts.at(-2) ?? ''}/${(parts.at(-1) ?? '').replace(/\.git$/, '')}`;
  return isRepositoryName(name) ? name : undefined;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
