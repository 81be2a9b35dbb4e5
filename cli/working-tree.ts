import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';

/** A folder's files as a git commit in a repository of our own: the folder's own repository, if it has one, is not touched. */
export interface WorkingTree {
  readonly commit: string;
  /** Pushes the commit. `onLine` gets what the server prints. Errors: UserError with what git said. */
  push(
    url: string,
    options: {
      ref: string;
      options: readonly string[];
      authorization?: string;
      onLine: (line: string) => void;
    },
  ): Promise<void>;
}

/**
 * Files that `.gitignore` names stay out, as they would of a commit. The repository is kept in the user's cache folder, so that the next build of
 * the same folder reads and sends only what changed. Errors: UserError.
 */
export async function commitWorkingTree(context: CliContext, folder: string): Promise<WorkingTree> {
  const info = await stat(folder).catch(() => undefined);
  if (info?.isDirectory() !== true) throw new UserError(`${folder} is no folder`, { exitCode: 2 });
  const caches = context.env['XDG_CACHE_HOME'] || join(context.env['HOME'] || homedir(), '.cache');
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 32);
  const repository = join(caches, 'brickyard/trees', name);
  await mkdir(repository, { recursive: true });
  const environment = (more: Record<string, string> = {}): NodeJS.ProcessEnv => {
    // A hook or a shell may have pointed git elsewhere.
    const own = Object.entries(context.env).filter(([key]) => !key.startsWith('GIT_'));
    return {
      ...Object.fromEntries(own),
      GIT_DIR: repository,
      GIT_WORK_TREE: folder,
      GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: 'brickyard build',
      GIT_AUTHOR_EMAIL: 'build@localhost',
      GIT_COMMITTER_NAME: 'brickyard build',
      GIT_COMMITTER_EMAIL: 'build@localhost',
      ...more,
    };
  };
  const git = (...args: string[]): Promise<string> => runGit(args, { cwd: folder, env: environment() });

  await runGit(['init', '--quiet', '--bare', repository], {
    cwd: folder,
    env: { ...environment(), GIT_DIR: undefined, GIT_WORK_TREE: undefined },
  });
  await git(
    '-c',
    'core.autocrlf=false',
    '-c',
    'core.bare=false',
    '-c',
    'advice.addEmbeddedRepo=false',
    'add',
    '--all',
    '.',
  );
  const tree = (await git('write-tree')).trim();
  const commit = (await git('commit-tree', '-m', 'working tree', tree)).trim();
  // Keeps the objects, for the next push to build upon.
  await git('update-ref', 'refs/heads/last', commit);
  return {
    commit,
    async push(url, options) {
      const { authorization } = options;
      const env = environment(
        authorization === undefined
          ? {}
          : {
              // In the environment, as arguments are shown to every user of the machine.
              GIT_CONFIG_COUNT: '1',
              GIT_CONFIG_KEY_0: `http.${url}.extraHeader`,
              GIT_CONFIG_VALUE_0: `Authorization: ${authorization}`,
            },
      );
      const args = [
        'push',
        '--quiet',
        ...options.options.flatMap((option) => ['--push-option', option]),
        url,
        `${commit}:${options.ref}`,
      ];
      await runGit(args, { cwd: folder, env, onRemoteLine: options.onLine });
    },
  };
}

function runGit(
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; onRemoteLine?: (line: string) => void },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, {
      cwd: options.cwd,
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let said = '';
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const remote = /^remote: ?(.*)$/.exec(line)?.[1];
        if (remote === undefined || options.onRemoteLine === undefined)
          said = `${said}${line}\n`.slice(-8192);
        else options.onRemoteLine(remote.trimEnd());
      }
    });
    child.once('error', (cause) =>
      reject(new UserError('git could not be started: is it installed?', { cause })),
    );
    child.once('close', (code) => {
      if (code === 0) resolve(stdout);
      else
        reject(new UserError(`git ${args[0] === '-c' ? 'add' : args[0]} failed:\n${said}${rest}`.trimEnd()));
    });
  });
}
