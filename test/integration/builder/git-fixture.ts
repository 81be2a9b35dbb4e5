import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createGitHost } from '../../../builder/git/create-git-host.ts';
import type { GitHost, PushListener, RefUpdate } from '../../../builder/git/git-host.ts';
import type { Identity } from '../../../core/auth/authenticator.ts';
import { openAuthorizer } from '../../../core/auth/authorizer.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import type { ObjectStore } from '../../../core/object-store/object-store.ts';
import { type RunResult, run, runOk } from '../../helpers/process.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

export const developer: Identity = {
  principal: { name: 'dev', anonymous: false },
  authorizer: openAuthorizer,
};

/** A listener that only remembers, and prints one line per update. */
export function createRecorder(): PushListener & { readonly updates: RefUpdate[] } {
  const updates: RefUpdate[] = [];
  return {
    updates,
    accepted: async (more) => void updates.push(...more),
    follow: async (more, write) => {
      for (const { ref } of more) write(`accepted ${ref}`);
    },
  };
}

export interface GitServer extends AsyncDisposable {
  readonly url: string;
  readonly host: GitHost;
  readonly server: Server;
  close(): Promise<void>;
}

/** A bare HTTP server with nothing but a git host behind it. */
export async function serveGit(options: {
  store: ObjectStore;
  cacheDir: string;
  listener: PushListener;
  identity?: () => Identity;
}): Promise<GitServer> {
  const host = await createGitHost({ ...options, log: createSilentLogger() });
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    void host.handle(request, response, options.identity?.() ?? developer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.close();
    server.closeIdleConnections();
    await host.close();
    server.closeAllConnections();
  };
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, host, server, close, [Symbol.asyncDispose]: close };
}

/** A temporary folder with a filesystem store and room for caches and clones. */
export async function createWorkshop(): Promise<
  { path: string; store: ObjectStore; cacheDir: string; storeRoot: string } & AsyncDisposable
> {
  const directory = await createTempDirectory('git');
  const storeRoot = join(directory.path, 'store');
  return {
    path: directory.path,
    storeRoot,
    store: createFilesystemStore({ root: storeRoot }),
    cacheDir: join(directory.path, 'cache'),
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

const clientEnvironment = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Dev',
  GIT_AUTHOR_EMAIL: 'dev@example.com',
  GIT_COMMITTER_NAME: 'Dev',
  GIT_COMMITTER_EMAIL: 'dev@example.com',
  no_proxy: '127.0.0.1',
};

export function git(cwd: string, ...args: string[]): Promise<RunResult> {
  return run('git', args, { cwd, env: clientEnvironment });
}

export function gitOk(cwd: string, ...args: string[]): Promise<string> {
  return runOk('git', args, { cwd, env: clientEnvironment });
}
