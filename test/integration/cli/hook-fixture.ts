import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { brickyard, type CommandOutcome } from '../../helpers/brickyard-command.ts';
import { type RunResult, waitFor } from '../../helpers/process.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { commitFiles, pushBase } from '../builder/farm-fixture.ts';
import { git, gitOk } from '../builder/git-fixture.ts';

const user = 'dev';
const password = `it's a "pass\\word" $HOME`;

export interface BuildLine {
  readonly id: string;
  readonly ref: string;
  readonly commit: string;
  readonly repository: string;
  readonly state: string;
}

/** A server with accounts and a base image, and repositories with hooks beside it. */
export interface HookWorkshop {
  readonly folder: string;
  readonly server: TestServer;
  readonly registry: RegistryClient;
  /** Holds `USER:PASSWORD`. */
  readonly credentialFile: string;
  readonly command: (...args: string[]) => Promise<CommandOutcome>;
  readonly builds: () => Promise<readonly BuildLine[]>;
  /** Of a git repository there, with the account in it. */
  readonly gitUrl: (app: string) => string;
  /** Stops the server; the returned function starts it where it was. */
  leave(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** `settings` are added to the server's environment. */
export async function openHookWorkshop(
  settings: Readonly<Record<string, string>> = {},
): Promise<HookWorkshop> {
  const directory: TempDirectory = await createTempDirectory('hook');
  const folder = directory.path;
  const htpasswd = join(folder, 'htpasswd');
  const credentialFile = join(folder, 'account');
  await writeFile(credentialFile, `${user}:${password}\n`);
  const added = await brickyard(['user', 'add', user, '--file', htpasswd, '--password-stdin'], {
    home: folder,
    input: password,
  });
  if (added.code !== 0) throw new Error(added.stderr);
  await mkdir(join(folder, 'data'));
  const env = {
    BRICKYARD_AUTH_HTPASSWD: htpasswd,
    BRICKYARD_LOG_LEVEL: 'error',
    BRICKYARD_PROCESSES: '1',
    BRICKYARD_BUILDER_ENGINE: 'none',
    ...settings,
  };
  let server = await startServer({ env, data: join(folder, 'data') });
  const registry = createRegistryClient({ url: server.url, credentials: { username: user, password } });
  await pushBase(registry);
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const command = (...args: string[]): Promise<CommandOutcome> =>
    brickyard(args, { home: folder, server: server.url });
  const login = await brickyard(['login', server.url, '--user', user, '--password-stdin'], {
    home: folder,
    input: password,
  });
  if (login.code !== 0) throw new Error(login.stderr);
  return {
    folder,
    get server() {
      return server;
    },
    registry,
    credentialFile,
    command,
    async builds() {
      const answer = await fetch(`${server.url}/api/v1/builds?limit=200`, { headers: { authorization } });
      return ((await answer.json()) as { builds: readonly BuildLine[] }).builds;
    },
    gitUrl: (app) =>
      `${server.url.replace('//', `//${user}:${encodeURIComponent(password)}@`)}/git/${app}.git`,
    async leave() {
      await server.stop();
      return async () => {
        server = await startServer({ env, data: join(folder, 'data'), port: server.port });
      };
    },
    async close() {
      registry.close();
      await server.stop();
      await directory.remove();
    },
  };
}

/** A bare repository with hooks, and a clone that pushes to it. */
export interface HookedClone {
  readonly bare: string;
  readonly work: string;
  /** Returns the commit. */
  readonly commit: (files: Readonly<Record<string, string>>) => Promise<string>;
  readonly push: (...args: string[]) => Promise<RunResult>;
  /** Refs of the bare repository, as the server has them. */
  readonly refs: (url: string) => Promise<string>;
}

export async function createBare(folder: string, name: string): Promise<HookedClone> {
  const bare = join(folder, 'srv', `${name}.git`);
  const work = join(folder, 'work', name);
  await gitOk(folder, 'init', '-q', '--bare', '-b', 'main', bare);
  await gitOk(folder, 'init', '-q', '-b', 'main', work);
  return {
    bare,
    work,
    commit: (files) => commitFiles(work, files),
    push: (...args) => git(work, 'push', bare, ...args),
    refs: (url) => gitOk(work, 'ls-remote', url),
  };
}

/**
 * Everything of ours in a repository runs under this shell from now on, busybox also without util-linux's `flock`; and it waits longer for an answer, as the
 * machine may be slow.
 */
export async function useShell(repository: string, shell: string): Promise<void> {
  for (const folder of ['hooks', 'brickyard']) {
    for (const name of await readdir(join(repository, folder))) {
      if (!/^(?:deliver|(?:post|pre)-\w+)$/.test(name)) continue;
      const path = join(repository, folder, name);
      const text = await readFile(path, 'latin1');
      if (!text.includes('# brickyard hook')) continue;
      const changed = text
        .replace(/^#!.*\n/, `#!${shell}\n`)
        .replace('(sleep 2;', '(sleep 20;')
        .replace('--max-time 2 ', '--max-time 20 ');
      const lacking = shell.includes('busybox') ? changed.replace('command -v flock', 'false') : changed;
      await writeFile(path, lacking, 'latin1');
    }
  }
}

/** The end of every build that `wanted` accepts. */
export async function untilBuilt(
  workshop: HookWorkshop,
  wanted: (build: BuildLine) => boolean,
  count: number,
): Promise<readonly BuildLine[]> {
  return waitFor(
    async () => {
      const found = (await workshop.builds()).filter(wanted);
      const ended = found.every(({ state }) => state !== 'queued' && state !== 'running');
      return found.length >= count && ended ? found : undefined;
    },
    { what: `${count} builds`, timeoutMs: 150_000 },
  );
}
