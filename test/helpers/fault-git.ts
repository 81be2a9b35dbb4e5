import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { ConnectionLost, type Http } from './fault-http.ts';
import { unexpected } from './fault-model.ts';
import type { Random } from './fault-random.ts';
import { type RunResult, run, waitFor } from './process.ts';

interface PushedRef {
  /** Commits that the ref may have: more than one only after a push whose outcome is unknown. */
  allowed: Set<string | undefined>;
}

/** Somebody who pushes to one git repository and counts on what was acknowledged. */
export interface FaultGit {
  /** One commit and one push. Errors: ConnectionLost when the push failed; then `settle` must run. */
  step(): Promise<void>;
  /** Compares the refs with what was acknowledged; `clone`: also brings all of it back, and git checks every object. */
  settle(clone: boolean): Promise<void>;
  /** Waits until every push that arrived is an image, or was superseded by one of the same ref that is; returns how many builds needed to be asked for again. */
  waitForBuilds(): Promise<number>;
  /** Pushes that git called good. */
  readonly acknowledged: () => number;
}

const environment = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Dev',
  GIT_AUTHOR_EMAIL: 'dev@example.com',
  GIT_COMMITTER_NAME: 'Dev',
  GIT_COMMITTER_EMAIL: 'dev@example.com',
  no_proxy: '127.0.0.1',
};

const appFile =
  'appname: app\nbase: nodejs:26\nentrypoints:\n  web:\n    cmd: node server.js\n    ports: [8080]\n';

interface BuildView {
  readonly id: string;
  readonly state: string;
  readonly commit: string;
  readonly ref: string;
  readonly error?: string;
}

export async function createFaultGit(options: {
  folder: string;
  /** As `team/app`. */
  repository: string;
  base: () => string;
  http: Http;
  random: Random;
}): Promise<FaultGit> {
  const { folder, repository, base, http, random } = options;
  const work = join(folder, 'work');
  const refs = new Map<string, PushedRef>();
  /** Commits that arrived, each of them as the head of some ref. */
  const arrived = new Set<string>();
  let acknowledged = 0;
  let serial = 0;

  const git = (cwd: string, ...args: string[]): Promise<RunResult> =>
    run('git', args, { cwd, env: environment });
  const gitOk = async (cwd: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await git(cwd, ...args);
    if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  };
  const url = (): string => `${base()}/git/${repository}.git`;

  await mkdir(work, { recursive: true });
  await gitOk(work, 'init', '-q', '-b', 'main');
  await writeFile(join(work, 'App.yaml'), appFile);

  async function step(): Promise<void> {
    await writeFile(join(work, 'server.js'), `console.log(${serial++})\n`);
    await gitOk(work, 'add', '-A');
    await gitOk(work, 'commit', '-q', '-m', `change ${serial}`);
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    const ref = random.chance(0.7) ? 'refs/heads/main' : `refs/heads/b${random.below(4)}`;
    const allowed = refs.get(ref)?.allowed ?? new Set([undefined]);
    refs.set(ref, { allowed: allowed.add(commit) });
    const wait = random.chance(0.3) ? [] : ['-o', 'build.nowait'];
    const pushed = await git(work, 'push', '-q', ...wait, url(), `HEAD:${ref}`);
    if (pushed.code !== 0) throw new ConnectionLost(`git push: ${pushed.stderr}`);
    acknowledged++;
    arrived.add(commit);
    refs.set(ref, { allowed: new Set([commit]) });
  }

  async function settle(clone: boolean): Promise<void> {
    if (refs.size === 0) return;
    const listed = await git(work, 'ls-remote', url());
    if (listed.code !== 0) {
      // A repository that no push has reached yet is not there.
      if (acknowledged === 0 && /not found/i.test(listed.stderr)) return;
      throw new ConnectionLost(`git ls-remote: ${listed.stderr}`);
    }
    const remote = new Map(
      listed.stdout
        .split('\n')
        .filter((line) => line.includes('\t'))
        .map((line) => line.split('\t').toReversed() as [string, string]),
    );
    for (const [ref, { allowed }] of refs) {
      const found = remote.get(ref);
      if (!allowed.has(found)) {
        throw new Error(`${repository} ${ref} is at ${found}, allowed ${[...allowed].join(' or ')}`);
      }
      if (found !== undefined) arrived.add(found);
      refs.set(ref, { allowed: new Set([found]) });
    }
    if (!clone || remote.size === 0) return;
    const back = join(folder, 'back');
    const cloned = await git(folder, 'clone', '-q', '--bare', url(), back);
    if (cloned.code !== 0) {
      await rm(back, { recursive: true, force: true });
      throw new ConnectionLost(`git clone: ${cloned.stderr}`);
    }
    await gitOk(back, 'fsck', '--strict');
    for (const [ref, { allowed }] of refs) {
      const [commit] = allowed;
      if (commit !== undefined && (await gitOk(back, 'rev-parse', ref)).trim() !== commit) {
        throw new Error(`${ref} was cloned at another commit than ${commit}`);
      }
    }
    await rm(back, { recursive: true, force: true });
  }

  async function listBuilds(): Promise<BuildView[]> {
    const found: BuildView[] = [];
    for (let before: string | undefined; ; before = found.at(-1)?.id) {
      const answer = await http.send(
        'GET',
        `/api/v1/builds?limit=200&repository=${encodeURIComponent(repository)}${before === undefined ? '' : `&before=${before}`}`,
      );
      if (answer.status !== 200) throw unexpected('the list of builds', answer);
      const { builds } = JSON.parse(answer.body.toString()) as { builds: BuildView[] };
      found.push(...builds);
      if (builds.length === 0) return found;
    }
  }

  async function waitForBuilds(): Promise<number> {
    let again = 0;
    const retried = new Set<string>();
    let states = '';
    let images: string[] = [];
    await waitFor(
      async () => {
        const builds = await listBuilds();
        const grouped = Object.entries(Object.groupBy(builds, ({ state }) => state));
        states = grouped
          .map(([state, some = []]) => `${some.length} ${state} (${some[0]?.id} ${some[0]?.error ?? ''})`)
          .join(', ');
        const done = new Set(builds.filter(({ state }) => state === 'succeeded').map(({ commit }) => commit));
        for (const { id, state, error, commit } of builds) {
          if (state !== 'failed' || done.has(commit) || retried.has(id)) continue;
          // A build that was running each of three times when its process died is given up, and says so.
          if (error?.includes('died') !== true) throw new Error(`build ${id} failed: ${error}`);
          retried.add(id);
          const answer = await http.send('POST', `/api/v1/builds/${id}/retry`, { body: Buffer.alloc(0) });
          if (answer.status >= 300) throw unexpected(`retry of ${id}`, answer);
          again++;
        }
        const needless = supersededCommits(builds);
        images = [...arrived].filter((commit) => !needless.has(commit) || done.has(commit));
        return images.every((commit) => done.has(commit));
      },
      { what: 'every push becomes an image, or a newer one of its branch does', timeoutMs: 120_000 },
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; ${arrived.size} commits arrived; ${states.slice(0, 2000)}`);
    });
    for (const commit of images) {
      const tag = commit.slice(0, 12);
      const answer = await http.send('GET', `/v2/${repository}/manifests/${tag}`);
      if (answer.status !== 200) throw unexpected(`image ${repository}:${tag}`, answer);
      const { layers } = JSON.parse(answer.body.toString()) as { layers: { digest: string }[] };
      for (const { digest } of layers) {
        const layer = await http.send('GET', `/v2/${repository}/blobs/${digest}`);
        if (layer.status !== 200 || digestOf(layer.body) !== digest)
          throw unexpected(`layer ${digest}`, layer);
      }
    }
    return again;
  }

  return { step, settle, waitForBuilds, acknowledged: () => acknowledged };
}

/** Commits that need no image, as a newer push of the same ref has one and theirs had not begun. */
function supersededCommits(builds: readonly BuildView[]): Set<string> {
  const byId = new Map(builds.map((build) => [build.id, build]));
  // Of a build that was given up and asked for again, its commit tells.
  const done = new Set(builds.filter(({ state }) => state === 'succeeded').map(({ commit }) => commit));
  const hasImage = (build: BuildView): boolean => {
    if (done.has(build.commit)) return true;
    const newer = byId.get(/superseded by (\S+)/.exec(build.error ?? '')?.[1] ?? '');
    return build.state === 'superseded' && newer?.ref === build.ref && newer.id > build.id && hasImage(newer);
  };
  const needless = builds.filter((build) => build.state === 'superseded' && hasImage(build));
  return new Set(needless.map(({ commit }) => commit));
}

/** The base image that the pushed App.yaml names: one layer of a few bytes, as nobody runs it. */
export async function pushBaseImage(http: Http): Promise<void> {
  const repository = 'baseimages/nodejs';
  const layer = Buffer.alloc(1000, 'base');
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/usr/bin'] },
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  for (const bytes of [layer, config]) {
    const answer = await http.send('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`, {
      headers: { 'content-type': 'application/octet-stream' },
      body: bytes,
    });
    if (answer.status !== 201) throw unexpected('the base image', answer);
  }
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(mediaTypes.ociConfig, config),
    layers: [describe(mediaTypes.ociLayer, layer)],
  };
  const answer = await http.send('PUT', `/v2/${repository}/manifests/26`, {
    headers: { 'content-type': mediaTypes.ociManifest },
    body: Buffer.from(JSON.stringify(manifest)),
  });
  if (answer.status !== 201) throw unexpected('the base image', answer);
}
