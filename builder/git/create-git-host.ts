import { mkdir, statfs } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Principal } from '../../core/auth/authorizer.ts';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { UserError } from '../../core/user-error.ts';
import { clearRepositoryCache } from './clear-cache.ts';
import { createRefFetcher } from './fetch-refs.ts';
import type { GitHost, PushListener } from './git-host.ts';
import { parseGitPath } from './git-path.ts';
import { gitEnvironment } from './git-process.ts';
import { advertisePush, refusedType, runGitService } from './git-service.ts';
import { openGitTree } from './git-tree.ts';
import { installHooks } from './hooks.ts';
import { createCommitImporter } from './import-commit.ts';
import { removeAbandonedImports } from './import-folder.ts';
import { createRefMover } from './move-refs.ts';
import { announceOpenIntents } from './push-intents.ts';
import { createPushSession, type PushSession } from './push-session.ts';
import { readRefs, type VersionedRefs } from './refs-document.ts';
import { createRepositoryCache } from './repository-cache.ts';
import { watchTree } from './watch-tree.ts';

/** Bytes; below it a push is refused at once. */
const leastFree = 1024 * 1024;

export interface GitHostOptions {
  readonly store: ObjectStore;
  /** Holds bare repositories and hooks; may be emptied at any time while no server runs. Several servers may share it. */
  readonly cacheDir: string;
  readonly listener: PushListener;
  readonly log: Logger;
}

/** Far below the time after which a repository counts as unused. Milliseconds. */
const touchEveryMs = 60_000;

/** What git says when objects on disk are damaged; never said about a question that is merely wrong. */
const damagePattern =
  /corrupt|does not match index|inflate|unable to read|could not read|bad object|is missing|missing (?:blob|tree|commit)|not a git repository|too short|bad tree|unknown object type/i;

/** Needs git 2.29 or newer on the PATH. */
export async function createGitHost(options: GitHostOptions): Promise<GitHost> {
  const { store, listener, log } = options;
  const hooks = join(options.cacheDir, 'hooks');
  const home = join(options.cacheDir, 'home');
  const root = join(options.cacheDir, 'repositories');
  const imports = join(options.cacheDir, 'imports');
  await Promise.all([
    installHooks(hooks),
    mkdir(home, { recursive: true }),
    mkdir(root, { recursive: true }),
    removeAbandonedImports(imports),
  ]);
  const path = process.env['PATH'];
  const environment = gitEnvironment({ hooks, home, ...(path === undefined ? {} : { path }) });
  const cache = createRepositoryCache({ store, directory: options.cacheDir, environment });
  const moveRefs = createRefMover({ store, cache, listener, log });
  const importCommit = createCommitImporter({ store, cache, moveRefs, directory: imports, environment });
  const fetchRefs = createRefFetcher({ cache, moveRefs, directory: imports, environment });
  /** Requests and pushes under way, waited for on close. */
  const running = new Set<Promise<unknown>>();
  const pushes = new Set<PushSession>();
  let closed = false;

  /** A push first asks where refs are, which the store knows: packs that are missing here are fetched while git puts its own together. */
  function readAhead(team: string, app: string): Promise<VersionedRefs> {
    const opening = cache.open(team, app, { create: true }).then(
      () => undefined,
      // The push itself opens it once more, and tells.
      (error: unknown) => log.warn({ err: error, team, app }, 'git cache could not be brought up to date'),
    );
    running.add(opening);
    void opening.finally(() => running.delete(opening));
    return readRefs(store, team, app);
  }

  async function whileOpen<T>(work: () => Promise<T>): Promise<T> {
    if (closed) throw new Error('the server is stopping');
    const task = work();
    running.add(task);
    try {
      return await task;
    } finally {
      running.delete(task);
    }
  }

  /** Until the returned function is called, the folder is not taken for one that nobody needs. */
  function keepInUse(team: string, app: string): () => void {
    const timer = setInterval(() => {
      cache
        .touch(team, app)
        .catch((error: unknown) => log.warn({ err: error, team, app }, 'git cache cannot be marked'));
    }, touchEveryMs);
    timer.unref();
    return () => clearInterval(timer);
  }

  async function discardDamaged(team: string, app: string): Promise<void> {
    log.warn({ team, app }, 'a repository of the git cache cannot be read and is made anew');
    try {
      await cache.discard(team, app);
    } catch (error) {
      log.warn({ err: error, team, app }, 'a damaged repository of the git cache cannot be removed');
    }
  }

  async function serve(...[request, response, identity]: Parameters<GitHost['handle']>): Promise<void> {
    const git = parseGitPath(request.url ?? '', request.method ?? '');
    if ('refused' in git) return answer(response, git.status, git.refused);
    const { team, app } = git;
    const writes = git.service === 'git-receive-pack';
    if (!identity.authorizer.may(identity.principal, writes ? 'build' : 'pull', `${team}/${app}`)) {
      return refuse(response, identity.principal, writes ? 'push to' : 'fetch', `${team}/${app}`);
    }
    const type = refusedType(request, git);
    if (type !== undefined) return answer(response, 415, type);
    if (closed) return answer(response, 503, 'the server is stopping');
    const refs =
      writes && git.advertisement
        ? await readAhead(team, app)
        : await cache.open(team, app, { create: writes });
    if (refs === undefined) {
      return answer(response, 404, `there is no repository ${team}/${app} yet: push to create it`);
    }
    // git's own words for it ("index-pack abnormal exit") help nobody.
    if (writes && (await isFull(root))) return answer(response, 507, "the server's disk is full");
    if (writes && git.advertisement) return advertisePush(response, git, refs.document);
    const push = writes
      ? createPushSession(
          { store, cache, listener, log },
          { team, app, pusher: identity.principal.name, ...hostOf(request.headers.host) },
        )
      : undefined;
    if (push !== undefined) pushes.add(push);
    const release = keepInUse(team, app);
    const result = await runGitService(request, response, {
      folder: cache.path(team, app),
      environment,
      path: git,
      ...(push === undefined
        ? {}
        : { attach: (sockets) => push.attach(sockets), onClientGone: () => push.detach() }),
    }).finally(release);
    if (push !== undefined) {
      await push.finish();
      pushes.delete(push);
    }
    if (!response.headersSent && !response.destroyed) answer(response, 500, 'git could not answer');
    if (result.code !== 0 || result.stderr !== '') {
      log.info(
        { team, app, service: git.service, code: result.code, stderr: result.stderr },
        'git had something to say',
      );
      if (damagePattern.test(result.stderr) && !writes) await discardDamaged(team, app);
    }
  }

  return {
    async handle(request, response, identity) {
      const task = serve(request, response, identity);
      running.add(task);
      try {
        await task;
      } catch (error) {
        log.error({ err: error }, 'git request failed');
        if (response.headersSent) response.destroy();
        else answer(response, 503, 'the git host could not answer; try again');
      } finally {
        running.delete(task);
        request.resume();
      }
    },
    async openTree(team, app, commit) {
      if (!/^[0-9a-f]{40}$/.test(commit)) throw new UserError(`not a commit: ${JSON.stringify(commit)}`);
      const missing = new UserError(`there is no repository ${team}/${app}`);
      for (let attempt = 0; ; attempt++) {
        if ((await cache.open(team, app)) === undefined) throw missing;
        try {
          let discarding: Promise<void> | undefined;
          const damaged = (): Promise<void> => (discarding ??= discardDamaged(team, app));
          const repository = cache.path(team, app);
          const tree = await openGitTree({ repository, environment, commit, broken: () => void damaged() });
          const release = keepInUse(team, app);
          return watchTree(tree, {
            damaged,
            async closed() {
              release();
              await discarding;
            },
          });
        } catch (error) {
          // Absent from the cache although its packs are all there: damaged on disk, or never pushed. Ask the store once more.
          if (attempt > 0) throw error;
          await cache.discard(team, app);
        }
      }
    },
    async resolveRef(team, app, ref) {
      const { document } = await readRefs(store, team, app);
      const stored = document.refs[ref];
      return stored === undefined ? undefined : { commit: stored.commit, sequence: stored.sequence };
    },
    importCommit: (target, write) => whileOpen(() => importCommit(target, write)),
    fetchRefs: (target, source, signal) => whileOpen(() => fetchRefs(target, source, signal)),
    recover: () => announceOpenIntents({ store, listener, log }),
    async clearCache(enough) {
      const removed = await clearRepositoryCache(cache, { root, now: Date.now(), enough });
      if (removed > 0) log.info({ removed }, 'repositories of the git cache were removed to make room');
    },
    async close() {
      closed = true;
      // Pushers who watch a build are let go; pushes that are still being stored are waited for.
      for (const push of pushes) push.detach();
      await Promise.allSettled(running);
    },
  };
}

/** Whether not even a small push would fit. A folder that somebody has cleared away is made again as soon as it is needed. */
async function isFull(folder: string): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize < leastFree;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function hostOf(header: string | undefined): { host?: string } {
  return header !== undefined && /^[\w.:[\]-]{1,255}$/.test(header) ? { host: header } : {};
}

function refuse(response: ServerResponse, principal: Principal, verb: string, repository: string): void {
  if (principal.anonymous) return challenge(response);
  answer(response, 403, `${principal.name} may not ${verb} ${repository}`);
}

/** Asks git for a name and a password. */
export function challenge(response: ServerResponse): void {
  response.setHeader('WWW-Authenticate', 'Basic realm="brickyard", charset="UTF-8"');
  answer(response, 401, 'authentication required');
}

/** git shows a text/plain answer to its user, line by line. */
function answer(response: ServerResponse, status: number, text: string): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-cache',
    // What is still arriving of a refused pack is not worth reading.
    ...(status >= 400 ? { Connection: 'close' } : {}),
  });
  response.end(`${text}\n`);
}
