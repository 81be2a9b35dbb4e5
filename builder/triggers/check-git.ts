import { tmpdir } from 'node:os';
import type { Logger } from '../../core/log.ts';
import { UserError } from '../../core/user-error.ts';
import { runGit } from '../git/run-git.ts';
import { parseGitVersion } from './git-version.ts';

/**
 * Whether the git on the PATH may be sent to repositories of others. Errors: UserError when it may not. What only concerns checkouts
 * and submodules, neither of which is ever made here, is a warning.
 */
export async function checkGit(log: Logger): Promise<void> {
  const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env;
  const { stdout } = await runGit(['--version'], { cwd: tmpdir(), environment: { PATH, LC_ALL: 'C' } });
  const found = parseGitVersion(stdout);
  if (found === undefined || !found.usable) {
    throw new UserError(
      `builder.triggers needs git 2.37 or newer, and this one says ${JSON.stringify(stdout.trim().slice(0, 80))}: update git`,
    );
  }
  if (found.patched) return;
  log.warn(
    { version: found.version },
    'this git may have known holes (CVE-2025-48384) unless its packager closed them; update it',
  );
}
