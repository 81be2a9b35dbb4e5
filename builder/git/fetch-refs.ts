import { randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { watchFetch } from './fetch-limits.ts';
import {
  type FetchedRef,
  type FetchRefs,
  FetchRefused,
  type FetchSource,
  type FetchTarget,
  type WantedRef,
} from './fetch-target.ts';
import { harmlessFaults } from './git-process.ts';
import { createImportFolder, packsOf } from './import-folder.ts';
import type { MoveRefs } from './move-refs.ts';
import { listPacks } from './packs.ts';
import { checkRefName } from './ref-name.ts';
import { type RefCommand, type RefsDocument, zeroId } from './refs-document.ts';
import { type RemoteRefs, readRemoteRefs, remoteFault } from './remote-refs.ts';
import type { RepositoryCache } from './repository-cache.ts';
import { type GitRun, runGit } from './run-git.ts';

/** Somebody else moved the same refs meanwhile: what was fetched may be the older state. */
const mostAttempts = 5;

/** How one wanted ref stands after the fetch, before anything of ours moves. */
interface Seen {
  readonly wanted: WantedRef;
  /** What it points to there; undefined: it is not there. */
  readonly target?: string;
  readonly tip?: string;
  readonly decided?: Pick<FetchedRef, 'outcome' | 'detail'>;
}

/**
 * Fetches with git itself into a repository of its own, where nothing that is there before the fetch is missing in the store. No checkout, hooks,
 * filters or submodules; objects are checked one by one, and git refuses a pack that does not reach down to what is known. History
 * comes whole: a shallow one could be neither fetched from here nor pushed upon.
 */
export function createRefFetcher(deps: {
  readonly cache: RepositoryCache;
  readonly moveRefs: MoveRefs;
  /** Holds the folders; on the disk of the cache. */
  readonly directory: string;
  readonly environment: Record<string, string>;
}): FetchRefs {
  const { cache, moveRefs, directory } = deps;

  async function attempt(
    target: FetchTarget,
    source: FetchSource,
    signal: AbortSignal,
  ): Promise<readonly FetchedRef[] | undefined> {
    const { team, app } = target;
    const environment = remoteEnvironment(deps.environment, source);
    const folder = join(directory, randomBytes(12).toString('hex'));
    try {
      // Read before the other side is asked: whoever writes in between is found out by the comparison.
      const { document } = (await cache.open(team, app, { create: true })) ?? {};
      if (document === undefined) throw new Error('a repository was not made');
      await createImportFolder(folder, cache.path(team, app), document.packs);
      const git: Git = (args, { variables = {}, ...more } = {}) =>
        runGit(args, { environment: { ...environment, ...variables }, cwd: folder, signal, ...more });
      const remote = await readRemoteRefs(
        git,
        source.url,
        target.refs.map(({ from }) => from),
      );
      const packs = await fetchMissing(git, folder, { target, source, document, remote, signal });
      const seen = await look(git, target, remote);
      return await move(target, { folder, packs, document, seen, remote });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async function move(
    target: FetchTarget,
    made: {
      folder: string;
      packs: readonly string[];
      document: RefsDocument;
      seen: readonly Seen[];
      remote: RemoteRefs;
    },
  ): Promise<readonly FetchedRef[] | undefined> {
    const { document, remote } = made;
    const results = new Map<string, FetchedRef>();
    let commands: RefCommand[] = [];
    for (const { wanted, target: after, tip, decided } of made.seen) {
      const stored = document.refs[wanted.to];
      const common = { ...wanted, ...(tip === undefined ? {} : { tip }) };
      if (decided !== undefined) results.set(wanted.to, { ...common, ...decided });
      else if (stored?.commit === after) {
        const gone = { outcome: 'missing', detail: `there is no ${wanted.from} there` } as const;
        results.set(wanted.to, {
          ...common,
          ...(stored === undefined ? gone : { outcome: 'unchanged', id: stored.id }),
        });
      } else commands.push({ ref: wanted.to, before: stored?.commit ?? zeroId, after: after ?? zeroId });
    }
    // A push moves all of its refs or none; here those that can move do, whatever is wrong with others.
    while (commands.length > 0) {
      const result = await moveRefs({
        ...target,
        ...made,
        commands,
        ...(remote.head === undefined ? {} : { head: remote.head }),
      });
      const wantedOf = (ref: string): Seen | undefined => made.seen.find(({ wanted }) => wanted.to === ref);
      if (result.refusals === undefined) {
        for (const { ref, after } of commands) {
          const update = result.updates.find((each) => each.ref === ref);
          const seen = wantedOf(ref);
          if (seen === undefined) continue;
          const { wanted, tip } = seen;
          results.set(ref, {
            ...wanted,
            ...(tip === undefined ? {} : { tip }),
            outcome: after === zeroId ? 'deleted' : 'moved',
            ...(update === undefined ? {} : { update }),
          });
        }
        break;
      }
      const own = [...result.refusals].filter(([, reason]) => !reason.startsWith('refused together'));
      if (own.length === 0 || own.some(([, reason]) => reason.includes('moved meanwhile'))) return undefined;
      for (const [ref, detail] of own) {
        const wanted = wantedOf(ref)?.wanted;
        if (wanted !== undefined) results.set(ref, { ...wanted, outcome: 'refused', detail });
      }
      commands = commands.filter(({ ref }) => !results.has(ref));
    }
    return target.refs.flatMap(({ to }) => results.get(to) ?? []);
  }

  return async (target, source, signal) => {
    const timeout = AbortSignal.timeout(source.limits.milliseconds);
    const either = AbortSignal.any([signal, timeout]);
    try {
      for (let count = 0; count < mostAttempts; count++) {
        const results = await attempt(target, source, either);
        if (results !== undefined) return results;
      }
    } catch (error) {
      if (!timeout.aborted || signal.aborted) throw error;
      const seconds = Math.round(source.limits.milliseconds / 1000);
      throw new FetchRefused(`fetching took longer than ${seconds} seconds`, { cause: error });
    }
    throw new Error('the refs of a repository elsewhere moved faster than they could be fetched');
  };
}

type Git = (
  args: readonly string[],
  more?: { input?: string; signal?: AbortSignal; variables?: Record<string, string> },
) => Promise<GitRun>;

/** Fetches what is not here yet to `refs/fetched/<number>`. Returns the packs that came. */
async function fetchMissing(
  git: Git,
  folder: string,
  given: {
    target: FetchTarget;
    source: FetchSource;
    document: RefsDocument;
    remote: RemoteRefs;
    signal: AbortSignal;
  },
): Promise<readonly string[]> {
  const { target, source, document, remote, signal } = given;
  const known = new Set(Object.values(document.refs).map(({ commit }) => commit));
  // What is known here is told to the other side, so that only what is new comes.
  const lines = [...known].map((id, index) => `${id} refs/known/${index}\n`);
  const specs: string[] = [];
  for (const [index, { from }] of target.refs.entries()) {
    const id = remote.refs.get(from);
    if (id === undefined) continue;
    if (known.has(id)) lines.push(`${id} refs/fetched/${index}\n`);
    else specs.push(`+${from}:refs/fetched/${index}\n`);
  }
  await writeFile(join(folder, 'packed-refs'), lines.join(''));
  if (specs.length === 0) return [];
  const trace = join(folder, 'trace');
  const watch = watchFetch({ folder: packsOf(folder), known: document.packs, limits: source.limits, signal });
  try {
    const options = ['--stdin', '--quiet', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head'];
    const { code, stderr } = await git(['fetch', ...options, '--', source.url], {
      input: specs.join(''),
      signal: watch.signal,
      variables: { GIT_TRACE_PACKET: trace },
    });
    if (code !== 0) throw remoteFault('fetched', code, stderr);
    await checkSmart(trace);
  } catch (error) {
    throw watch.fault() ?? error;
  } finally {
    await watch.close();
  }
  // A small pack may be over before the watch has looked.
  await watch.check();
  const fault = watch.fault();
  if (fault !== undefined) throw fault;
  return (await listPacks(packsOf(folder))).filter((id) => !document.packs.includes(id));
}

/**
 * A server may answer with plain files instead of git's protocol, and git takes those too, but without looking into the objects (and as
 * single files, which are not kept in the store). Only what was asked for in the protocol came as a pack that was checked.
 */
async function checkSmart(trace: string): Promise<void> {
  const text = await readFile(trace, 'latin1').catch(() => '');
  if (/> want [0-9a-f]{40}/.test(text)) return;
  throw new FetchRefused('the server does not speak the smart HTTP protocol of git');
}

async function look(git: Git, target: FetchTarget, remote: RemoteRefs): Promise<readonly Seen[]> {
  const asked = target.refs.flatMap((_, index) => [
    `refs/fetched/${index}`,
    `refs/fetched/${index}^{commit}`,
  ]);
  const { code, stdout, stderr } = await git(['cat-file', '--batch-check=%(objectname)'], {
    input: asked.map((name) => `${name}\n`).join(''),
  });
  if (code !== 0) throw new Error(`git cat-file failed (${code}): ${stderr}`);
  const answers = stdout.split('\n').map((line) => (/^[0-9a-f]{40}$/.test(line) ? line : undefined));
  const seen: Seen[] = [];
  for (const [index, wanted] of target.refs.entries()) {
    const name = checkRefName(wanted.to);
    const object = answers[index * 2];
    const tip = answers[index * 2 + 1];
    if (name !== undefined) seen.push({ wanted, decided: { outcome: 'refused', detail: name } });
    else if (!remote.refs.has(wanted.from) || object === undefined) {
      // Who says that a commit is on a ref that is not there is told so; a ref of ours goes only with somebody who says that it is gone.
      const detail = `there is no ${wanted.from} there`;
      seen.push(
        wanted.commit === undefined ? { wanted } : { wanted, decided: { outcome: 'missing', detail } },
      );
    } else if (tip === undefined) {
      seen.push({ wanted, decided: { outcome: 'refused', detail: 'it points to no commit' } });
    } else seen.push({ wanted, target: object, tip, ...(await reaches(git, wanted, object, tip)) });
  }
  return seen;
}

/** Whether the commit that somebody spoke of is on the ref: else it was pushed over since, or never there. */
async function reaches(
  git: Git,
  wanted: WantedRef,
  object: string,
  tip: string,
): Promise<Pick<Seen, 'decided'>> {
  const { commit } = wanted;
  if (commit === undefined || commit === object || commit === tip) return {};
  const { code } =
    commit.length === 40 ? await git(['merge-base', '--is-ancestor', commit, tip]) : { code: 1 };
  if (code === 0) return {};
  const detail = `${commit} is not on ${wanted.from}, which is at ${tip}: it was pushed over since, or never was there`;
  return { decided: { outcome: 'missing', detail } };
}

/** The host's own settings, and those for one exchange behind them, where they win. */
function remoteEnvironment(base: Record<string, string>, source: FetchSource): Record<string, string> {
  const environment: Record<string, string> = { ...base, GIT_DIR: '.', ...source.variables };
  let count = Number(base['GIT_CONFIG_COUNT'] ?? 0);
  for (const [name, value] of [...fetchSettings, ...source.settings]) {
    environment[`GIT_CONFIG_KEY_${count}`] = name;
    environment[`GIT_CONFIG_VALUE_${count}`] = value;
    count++;
  }
  environment['GIT_CONFIG_COUNT'] = String(count);
  return environment;
}

const fetchSettings: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['fetch.fsckObjects', 'true'],
  ...harmlessFaults.map((id) => [`fetch.fsck.${id}`, 'ignore'] as const),
  ['fetch.unpackLimit', '1'],
  ['fetch.recurseSubmodules', 'false'],
  ['fetch.writeCommitGraph', 'false'],
  ['transfer.bundleURI', 'false'],
  ['credential.helper', ''],
  ['core.askPass', ''],
  ['http.followRedirects', 'false'],
  ['http.proxy', ''],
  ['http.cookieFile', ''],
  ['http.sslVerify', 'true'],
  // Bytes in a second, over so many seconds: slower is given up.
  ['http.lowSpeedLimit', '1000'],
  ['http.lowSpeedTime', '60'],
];
