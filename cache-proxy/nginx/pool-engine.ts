import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, mkdir, open, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage, Server } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from '../../core/http/node-http.ts';
import { UserError } from '../../core/user-error.ts';
import { type LogTail, startLogTail } from '../agent/log-tail.ts';
import { fetchBlob } from '../fetch/fetch-blob.ts';
import { createPoolLinks, type PoolLinks } from '../fetch/pool-links.ts';
import { createSharedAsks } from '../fetch/shared-asks.ts';
import type { PoolCache, PoolEngine, PoolEngineDeps } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { acceptingWorkers } from './accepting-workers.ts';
import { createArrivingBlobs } from './arriving-blobs.ts';
import { checkNginx } from './check-nginx.ts';
import { readKeptTag } from './kept-tag.ts';
import { createLookAhead } from './look-ahead.ts';
import { endFormerNginx, type NginxChild, noNginx, startNginxChild } from './nginx-child.ts';
import { createNginxCache, hasPiece } from './pool-cache.ts';
import { controlSocket, internalSocket, poolConfig } from './pool-config.ts';
import { createPoolControl } from './pool-control.ts';
import { parsePoolLine } from './pool-log.ts';
import { renderNginx } from './render.ts';
import { runFolder } from './run-folder.ts';
import { createShardGrants } from './shard-grant.ts';
import { createTagQuestions } from './tag-questions.ts';

/** How long nginx may take to start, or to work with another configuration. */
const startMs = 30_000;
/** What is under way when the engine closes may end for so long. */
const drainMs = 60_000;
/** Connections of a former configuration: pulls under way end on the old workers for as long. */
const formerLinksMs = 15 * 60_000;

/**
 * A pool whose bytes nginx carries: it answers from its cache, and asks this process on a socket of their own who may have what and for everything that
 * is not there. A child that dies is started again. Errors: UserError when nginx is not there, or does not start with this configuration.
 */
export async function startNginxEngine(pool: Pool, deps: PoolEngineDeps): Promise<PoolEngine> {
  const { log } = deps;
  const file = join(pool.folder, 'pool.conf');
  const run = runFolder(pool);
  let current = pool;
  let links: PoolLinks = createPoolLinks(pool, deps);
  let grants = createShardGrants(pool);
  const former = new Set<PoolLinks>();
  let cache: PoolCache = createNginxCache({ folder: pool.cache.folder, slice: pool.cache.slice });
  let child: NginxChild | undefined;
  let closing = false;

  await mkdir(pool.folder, { recursive: true, mode: 0o700 });
  await mkdir(run, { recursive: true, mode: 0o700 });
  await mkdir(pool.cache.folder, { recursive: true, mode: 0o700 });
  const user = await workerUser(pool.folder, [run, pool.cache.folder]);
  const openFiles = await openFilesLimit();

  const textOf = (next: Pool, generation: string): string =>
    renderNginx(
      poolConfig(next, {
        run,
        agent: deps.agent,
        generation,
        ...(user === undefined ? {} : { user: user.name }),
        ...(openFiles === undefined ? {} : { openFiles }),
      }),
      ['Made by `brickyard serve pool` from pools.yaml: change that, not this file.'],
    );
  const check = async (config: string): Promise<void> => {
    const verdict = await checkNginx(config);
    if (verdict.kind === 'absent') throw noNginx();
    if (verdict.kind === 'refused')
      throw new UserError(`nginx would not start with this pool:\n${verdict.reason}`);
  };
  const write = async (config: string): Promise<void> => {
    await writeFile(`${file}.new`, config, { mode: 0o600 });
    await rename(`${file}.new`, file);
  };

  const arriving = createArrivingBlobs({
    hasFirst: (digest) => hasPiece(current.cache.folder, digest, `bytes=0-${current.cache.slice - 1}`),
  });
  const lookAhead = createLookAhead({
    fetch: ({ link, parents }, piece) => {
      arriving.note(piece.digest);
      return fetchBlob(link, parents, piece);
    },
    isCached: (digest, range) => hasPiece(current.cache.folder, digest, range),
  });
  const control = createPoolControl({
    gate: deps.gate,
    links: () => links,
    grants: () => grants,
    lookAhead,
    arriving,
    onRecord: deps.onRecord,
    tagQuestions: createTagQuestions(),
    manifestAsks: createSharedAsks(),
    keptTag: (repository, tag, accept) => readKeptTag(current.cache.folder, { repository, tag, accept }),
    onMissingTag: (repository, tag) => {
      if (current.onOriginMissing === 'keep') return;
      // Else it would come back while the registry is away.
      cache.purge({ repository, tag }).catch((error: unknown) => {
        log.warn({ err: error, repository, tag }, 'a tag that the origin lost could not be forgotten');
      });
    },
    log,
  });

  /** Starts it, and again whenever it dies. */
  const start = async (generation: string): Promise<void> => {
    // A socket's file outlives whoever was killed.
    await rm(join(run, internalSocket), { force: true });
    const started = await startNginxChild(file, run);
    let dead: string | undefined;
    void started.ended.then((how) => {
      dead = how;
    });
    child = started;
    await untilInForce(run, generation, () => dead);
    void started.ended.then((how) => {
      if (closing || child !== started) return;
      log.error({ how }, 'nginx ended; it is started again');
      void restart();
    });
  };
  const restart = async (): Promise<void> => {
    for (let wait = 250; !closing; wait = Math.min(wait * 2, 10_000)) {
      await delay(wait);
      if (closing) return;
      try {
        await endFormerNginx(join(await realpath(pool.folder), 'error.log'));
        await start(generationIn(await readFile(file, 'utf8')));
        return;
      } catch (error) {
        log.error({ err: error }, 'nginx does not start');
      }
    }
  };

  let tail: LogTail | undefined;
  const abandon = async (): Promise<void> => {
    closing = true;
    lookAhead.close();
    await child?.stop(0);
    await tail?.close();
    await closeServer(control);
    links.close();
    for (const each of former) each.close();
  };
  try {
    await endFormerNginx(join(await realpath(pool.folder), 'error.log'));
    const generation = newGeneration();
    const config = textOf(pool, generation);
    await check(config);
    await write(config);
    await listenOn(control, join(run, controlSocket), user);
    tail = await startLogTail({
      file: join(pool.folder, 'access.log'),
      onLine: (line) => {
        const record = parsePoolLine(line);
        if (record !== undefined) deps.onRecord(record);
      },
      reopen: () => child?.signal('SIGUSR1'),
      log,
    });
    await start(generation);
  } catch (error) {
    await abandon();
    throw error;
  }

  const workersOf = async (nginx: NginxChild | undefined): Promise<ReadonlySet<number>> =>
    nginx === undefined ? new Set() : acceptingWorkers(nginx.pid, join(run, internalSocket));
  /** Whoever connects from now on gets the new configuration: until then a former worker may be the first to take a connection. */
  const untilNoneAccept = async (workers: ReadonlySet<number>): Promise<void> => {
    const end = Date.now() + startMs;
    while (Date.now() < end) {
      const now = await workersOf(child);
      if (![...workers].some((pid) => now.has(pid))) return;
      await delay(20);
    }
    log.warn({ workers: [...workers] }, 'nginx keeps answering with a former configuration of the pool, too');
  };

  const swap = async (next: Pool): Promise<void> => {
    refuseWhatNeedsRestart(current, next);
    const generation = newGeneration();
    const config = textOf(next, generation);
    await check(config);
    const before = await readFile(file, 'utf8');
    const nextLinks = createPoolLinks(next, deps);
    const formerLinks = links;
    await write(config);
    links = nextLinks;
    const formerWorkers = await workersOf(child);
    try {
      child?.signal('SIGHUP');
      await untilInForce(run, generation, () => undefined);
    } catch (error) {
      links = formerLinks;
      nextLinks.close();
      await write(before);
      child?.signal('SIGHUP');
      const reason = await lastErrors(pool.folder);
      throw new UserError(`nginx goes on with the former configuration of the pool: ${reason}`, {
        cause: error,
      });
    }
    current = next;
    lookAhead.letGo();
    grants = createShardGrants(next);
    cache = createNginxCache({ folder: next.cache.folder, slice: next.cache.slice });
    former.add(formerLinks);
    setTimeout(() => {
      formerLinks.close();
      former.delete(formerLinks);
    }, formerLinksMs).unref();
    await untilNoneAccept(formerWorkers);
  };

  let turn: Promise<unknown> = Promise.resolve();
  let closed: Promise<void> | undefined;
  return {
    kind: 'nginx',
    url: urlOf(pool),
    get cache() {
      return cache;
    },
    reconfigure(next) {
      const before = turn;
      const done = (async () => {
        await before;
        await swap(next);
      })();
      turn = done.catch(() => {});
      return done;
    },
    close() {
      closed ??= (async () => {
        closing = true;
        await turn;
        await child?.stop(drainMs);
        lookAhead.close();
        await tail?.close();
        await closeServer(control);
        links.close();
        for (const each of former) each.close();
      })();
      return closed;
    },
  };
}

function refuseWhatNeedsRestart(now: Pool, next: Pool): void {
  const changed = [
    now.name === next.name ? undefined : 'name',
    now.engine === next.engine ? undefined : 'engine',
    now.listen === next.listen ? undefined : 'listen',
    now.folder === next.folder ? undefined : 'folder',
    now.cache.folder === next.cache.folder ? undefined : 'cache.dir',
    now.agent.listen === next.agent.listen ? undefined : 'agent.listen',
  ].filter((each) => each !== undefined);
  if (changed.length === 0) return;
  throw new UserError(`${changed.join(', ')} of a pool that runs cannot change: restart it`);
}

/** Workers of an nginx that is started as root are who the pool's folder belongs to. Undefined: we are not root. */
async function workerUser(
  folder: string,
  others: readonly string[],
): Promise<{ name: string; uid: number; gid: number } | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const { uid, gid } = await stat(folder);
  for (const other of others) await chown(other, uid, gid);
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n');
  const name = lines.map((line) => line.split(':')).find((fields) => fields[2] === String(uid))?.[0];
  if (name === undefined) {
    throw new UserError(
      `${folder} belongs to user ${uid}, who has no name here: give it to one who has (chown)`,
    );
  }
  return { name, uid, gid };
}

/** Each pull has a connection and a file open. As many as may be without asking for more; undefined where the kernel does not tell. */
async function openFilesLimit(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const hard = /^Max open files +\S+ +([0-9]+)/m.exec(limits)?.[1];
  return hard === undefined ? undefined : Math.min(Number(hard), 65_536);
}

async function listenOn(
  server: Server,
  path: string,
  user: { readonly uid: number; readonly gid: number } | undefined,
): Promise<void> {
  await rm(path, { force: true });
  server.listen(path);
  await once(server, 'listening');
  await chmod(path, 0o600);
  if (user !== undefined) await chown(path, user.uid, user.gid);
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function newGeneration(): string {
  return randomBytes(12).toString('hex');
}

function generationIn(config: string): string {
  return /return 200 '([0-9a-f]+)'/.exec(config)?.[1] ?? '';
}

/** Until nginx answers with this configuration. Errors: UserError. */
async function untilInForce(run: string, generation: string, dead: () => string | undefined): Promise<void> {
  const end = Date.now() + startMs;
  while ((await askGeneration(join(run, internalSocket))) !== generation) {
    const how = dead();
    if (how !== undefined) throw new UserError(`nginx ended as it started: ${how}`);
    if (Date.now() > end) throw new UserError(`nginx does not answer ${startMs / 1000} s after its start`);
    await delay(20);
  }
}

/** Undefined: nobody answers. */
async function askGeneration(socketPath: string): Promise<string | undefined> {
  try {
    const asked = request({ socketPath, path: '/generation', agent: false, timeout: 2_000 });
    asked.on('timeout', () => asked.destroy());
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return await text(answer);
  } catch {
    return undefined;
  }
}

/** What nginx wrote last, for people. */
async function lastErrors(folder: string): Promise<string> {
  try {
    await using handle = await open(join(folder, 'error.log'), 'r');
    const { size } = await handle.stat();
    const length = Math.min(size, 4096);
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    const lines = buffer.toString().trim().split('\n');
    return (
      lines.filter((line) => /\[(?:emerg|alert|crit)\]/.test(line)).at(-1) ?? 'it did not take the new one'
    );
  } catch {
    return 'it did not take the new one';
  }
}

function urlOf({ listen, tls }: Pool): string {
  const address = listen.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
  return `${tls === undefined ? 'http' : 'https'}://${address}`;
}
