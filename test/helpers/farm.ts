import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { brickyard } from './brickyard-command.ts';
import { startDockerd, type TestDockerd } from './dockerd.ts';
import { runOk, waitFor } from './process.ts';
import { startServer, type TestServer } from './server.ts';
import { createTempDirectory, type TempDirectory } from './temp.ts';

/** A server whose builds run in a Docker engine of its own, and the same engine to run what was built. */
export interface TestFarm {
  readonly server: TestServer;
  readonly dockerd: TestDockerd;
  readonly directory: TempDirectory;
  /** Makes these entries of the catalog that ships, with their parents. Downloads are kept in the machine's own cache folder. */
  buildBases(...names: string[]): Promise<void>;
  /** A folder of the repository `name` (`shop/hello`), which begins empty. */
  sourceOf(name: string): string;
  /** Commits what lies in the folder and these files, and pushes `main`; returns what git and the build printed, whether it succeeded or not. */
  push(name: string, files?: Readonly<Record<string, string | Uint8Array>>): Promise<string>;
  /** `HOST/NAME:main`, as Docker pulls it. */
  image(name: string, tag?: string): string;
  docker(...args: string[]): Promise<string>;
  /** Starts a container of which a port is published. */
  start(options: StartOptions): Promise<RunningContainer>;
  close(): Promise<void>;
}

export interface StartOptions {
  readonly image: string;
  readonly port: number;
  /** Of `docker run`. */
  readonly options?: readonly string[];
  /** What stands behind the image. */
  readonly args?: readonly string[];
}

export interface RunningContainer {
  readonly id: string;
  /** `http://127.0.0.1:PORT`. Asked anew each time: another start publishes another port. */
  url(): Promise<string>;
  /** The first answer of status 200 there. Errors: with the container's output when there is none. */
  text(path: string): Promise<string>;
  /** Ends it as an operator would and returns its exit code. */
  stop(): Promise<string>;
}

type Environment = Readonly<Record<string, string>>;

/** `settings` are added to the server's environment; they may depend on the engine. */
export async function startFarm(
  settings: Environment | ((dockerd: TestDockerd) => Promise<Environment>) = {},
): Promise<TestFarm> {
  const directory = await createTempDirectory('farm');
  const dockerd = await startDockerd();
  const env = typeof settings === 'function' ? await settings(dockerd) : settings;
  const server = await startServer({ env: { BRICKYARD_BUILDER_ENGINE: dockerd.socketPath, ...env } });
  return createFarm({ directory, dockerd, server });
}

export function createFarm(parts: Pick<TestFarm, 'directory' | 'dockerd' | 'server'>): TestFarm {
  const { directory, dockerd, server } = parts;
  const sourceOf = (name: string): string => join(directory.path, 'source', name);
  const docker = (...args: string[]): Promise<string> => runOk('docker', args, { env: dockerd.env });

  /** Returns what git says on both outputs: the build's log comes on standard error. */
  function git(name: string, ...args: string[]): Promise<string> {
    const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost'];
    const command = ['-c', 'exec git "$@" 2>&1', 'git', ...identity, ...args];
    return runOk('sh', command, { cwd: sourceOf(name), timeoutMs: 280_000 });
  }

  return {
    ...parts,
    sourceOf,
    docker,
    image: (name, tag = 'main') => `${server.host}/${name}:${tag}`,

    async buildBases(...names) {
      const { code, stdout, stderr } = await brickyard(['base', 'build', ...names], {
        home: directory.path,
        server: server.url,
        env: { BRICKYARD_BUILDER_ENGINE: dockerd.socketPath },
      });
      if (code !== 0) throw new Error(`the base images could not be made\n${stdout}${stderr}`);
    },

    async push(name, files = {}) {
      const source = sourceOf(name);
      await mkdir(source, { recursive: true });
      await git(name, 'init', '--quiet', '--initial-branch=main');
      await writeFiles(source, files);
      await git(name, 'add', '--all');
      await git(name, 'commit', '--quiet', '--allow-empty', '--message=change');
      return git(name, 'push', '--force', `${server.url}/git/${name}.git`, 'main');
    },

    async start({ image, port, options = [], args = [] }) {
      await docker('pull', '--quiet', image);
      const run = ['run', '--detach', `--publish=127.0.0.1::${port}`, ...options, image, ...args];
      const id = (await docker(...run)).trim();
      const url = async (): Promise<string> => `http://${(await docker('port', id, `${port}`)).trim()}`;
      return {
        id,
        url,
        async text(path) {
          const address = `${await url()}${path}`;
          const what = `${image} at ${path}`;
          return waitFor(() => answerOf(address), { what, timeoutMs: 120_000 }).catch(
            async (error: unknown) => {
              const logs = await runOk('sh', ['-c', 'docker logs "$0" 2>&1', id], { env: dockerd.env });
              throw new Error(`${String(error)}\n${logs}`);
            },
          );
        },
        async stop() {
          await docker('stop', '--time=20', id);
          const code = (await docker('inspect', '--format={{.State.ExitCode}}', id)).trim();
          await docker('rm', '--volumes', id);
          return code;
        },
      };
    },

    async close() {
      await server.remove();
      await dockerd.stop();
      await directory.remove();
    },
  };
}

async function answerOf(url: string): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    const text = await answer.text();
    return answer.ok ? text : undefined;
  } catch {
    return undefined;
  }
}

export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

/** What a commit of the checkout at `root` would hold, with what is not committed yet, laid into `target`. */
export async function copyCheckout(root: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const listed = await runOk('git', [
    '-C',
    root,
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
  ]);
  for (const path of new Set(listed.split('\0').filter((name) => name !== ''))) {
    await cp(join(root, path), join(target, path), { verbatimSymlinks: true }).catch((error: unknown) => {
      // Deleted, and the deletion is not committed.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
  }
}
