import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FetchSource } from '../../../builder/git/fetch-target.ts';
import { parseGitPath } from '../../../builder/git/git-path.ts';
import { runGitService } from '../../../builder/git/git-service.ts';
import type { Delivery } from '../../../builder/triggers/delivery.ts';
import { gitAccess } from '../../../builder/triggers/git-access.ts';
import type { Trigger } from '../../../builder/triggers/trigger.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import type { ObjectStore } from '../../../core/object-store/object-store.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import {
  before,
  after as elsewhere,
  generic,
  gitea,
  giteaPush,
  github,
  githubPullRequest,
  githubPush,
  gitlab,
  gitlabPush,
  type Sent,
  secret,
  zeros,
} from '../../unit/builder/triggers/payloads.ts';
import { appYaml, commitFiles, createWork, type Farm, pushBase, startFarm } from './farm-fixture.ts';
import { createRecorder, createWorkshop, type GitServer, gitOk, serveGit } from './git-fixture.ts';

/** The repository elsewhere is a real git server that knows nothing of webhooks; the webhooks are sent as the providers document them. */
let shop: Awaited<ReturnType<typeof createWorkshop>>;
let remote: GitServer;
let work: string;
let farm: Farm;
let triggers: readonly Trigger[];
let store: ObjectStore;

beforeAll(async () => {
  shop = await createWorkshop();
  remote = await serveGit({ ...shop, listener: createRecorder() });
  work = await createWork(join(shop.path, 'work'), {
    'App.yaml': appYaml.replace('appname: app\n', ''),
    'server.js': 'console.log(1)\n',
  });
  await gitOk(work, 'push', '-q', remoteUrl(), 'main');
  store = createFilesystemStore({ root: join(shop.path, 'farm') });
  triggers = [
    trigger('github', 'web'),
    trigger('gitea', 'tea'),
    trigger('gitlab', 'lab', { forks: 'build' }),
    trigger('generic', 'own', { branches: ['main', 'many/**', 'release/*'] }),
    trigger('generic', 'other', {
      remote: { url: remoteUrl(), privateNetwork: false },
      secrets: [`${secret} other`],
    }),
    trigger('github', 'forks', { forks: 'build', secrets: [`${secret} forks`] }),
  ];
  farm = await open();
  await pushBase(farm.registry);
});

afterAll(async () => {
  await farm.close();
  await remote.close();
  await shop[Symbol.asyncDispose]();
});

function remoteUrl(): string {
  return `${remote.url}/git/example/web.git`;
}

function trigger(provider: Trigger['provider'], app: string, more: Partial<Trigger> = {}): Trigger {
  return {
    team: 'shop',
    app,
    provider,
    remote: { url: remoteUrl(), privateNetwork: true },
    secrets: [secret],
    branches: ['**'],
    tags: ['**'],
    forks: 'never',
    ...more,
  };
}

function open(options: { work?: boolean } = {}): Promise<Farm> {
  return startFarm({ store, cacheDir: join(shop.path, 'farm-cache'), triggers, ...options });
}

async function send(path: string, { headers, body }: Sent, more: Record<string, string> = {}, to = farm) {
  const response = await fetch(`${to.url}/hooks/${path}`, {
    method: 'POST',
    headers: { ...headers, ...more },
    body: new Uint8Array(body),
  });
  const document = (await response.json()) as {
    id: string;
    url: string;
    state: string;
    message: string;
    duplicate?: boolean;
    error: { message: string };
  };
  return { status: response.status, location: response.headers.get('location'), ...document };
}

function outcome(id: string, of = farm): Promise<Delivery> {
  const over = async (): Promise<Delivery | undefined> => {
    const delivery = await of.builder.triggers.get(id);
    return delivery?.finishedAt === undefined ? undefined : delivery;
  };
  return waitFor(over, { what: `delivery ${id}`, timeoutMs: 60_000 });
}

async function built(id: string | undefined): Promise<string> {
  const over = async (): Promise<string | undefined> => {
    const build = await farm.builder.builds.get(id ?? '');
    return build?.finishedAt === undefined ? undefined : build.state;
  };
  return waitFor(over, { what: `build ${id}`, timeoutMs: 60_000 });
}

async function buildsOf(app: string): Promise<string[]> {
  const all = await farm.builder.builds.list({ limit: 200 });
  return all.filter(({ request }) => request.app === app).map(({ id }) => id);
}

/** A push to the repository elsewhere; returns the commit. */
async function pushThere(file: string, refspec = 'main:refs/heads/main'): Promise<string> {
  const commit = await commitFiles(work, { [file]: file });
  await gitOk(work, 'push', '-q', '--force', remoteUrl(), refspec);
  return commit;
}

function push(fields: Record<string, unknown>) {
  return { ...githubPush, pushed_at: Math.random(), ...fields };
}

function updates(...refs: (readonly [string, string])[]) {
  return {
    repository: 'shop/own',
    updates: refs.map(([ref, commit]) => ({ ref, old: before, new: commit })),
  };
}

const withSecret = (id: string) => ({ 'x-github-delivery': `delivery-${id}` });

describe('a webhook of a repository elsewhere', () => {
  it.each([
    ['github', 'web', (after: string) => github('push', { ...githubPush, after })],
    [
      'gitea',
      'tea',
      (after: string) =>
        gitea('push', {
          ...giteaPush,
          ref: 'refs/heads/main',
          after,
          repository: { full_name: 'example/web' },
        }),
    ],
    [
      'gitlab',
      'lab',
      (after: string) =>
        gitlab('Push Hook', {
          ...gitlabPush,
          ref: 'refs/heads/main',
          after,
          project: { path_with_namespace: 'example/web' },
        }),
    ],
    ['generic', 'own', (after: string) => generic(updates(['refs/heads/main', after]))],
  ])('of %s becomes an image, and its outcome can be asked for', async (provider, app, make) => {
    const commit = await pushThere(`${provider}.txt`);

    const taken = await send(provider, make(commit));

    expect(taken).toMatchObject({ status: 202, state: 'queued' });
    expect(taken.location).toBe(`${farm.url}/api/v1/deliveries/${taken.id}`);
    const { state, refs, request } = await outcome(taken.id);
    expect({ state, refs }).toMatchObject({
      state: 'succeeded',
      refs: [{ ref: 'refs/heads/main', outcome: 'queued' }],
    });
    expect(request.pusher).toMatch(new RegExp(`^${provider}:`));
    expect(await built(refs[0]?.build)).toBe('succeeded');
    const tag = await farm.registry.resolveManifest(`shop/${app}`, 'main');
    expect(await farm.registry.resolveManifest(`shop/${app}`, commit.slice(0, 12))).toEqual(tag);
    expect(await farm.registry.resolveManifest(`shop/${app}`, 'latest')).toEqual(tag);
    expect(await (await fetch(taken.url)).json()).toMatchObject({
      id: taken.id,
      repository: `shop/${app}`,
      refs,
    });
  });

  it('is taken once: sent again, replayed with a new delivery id, or by both at the same time', async () => {
    const commit = await pushThere('once.txt');
    const sent = github('push', push({ after: commit }));

    const [one, two] = await Promise.all([
      send('github', sent, withSecret('once-1')),
      send('github', sent, withSecret('once-1')),
    ]);
    await outcome(one.id);
    const replayed = await send('github', sent, withSecret('once-2'));

    expect(two.id).toBe(one.id);
    expect([one.status, two.status].toSorted((a, b) => a - b)).toEqual([200, 202]);
    expect(replayed).toMatchObject({ status: 200, id: one.id, duplicate: true });
    const builds = await buildsOf('web');
    // The same, told anew by somebody with the secret: the ref is there already.
    const told = await send('github', github('push', push({ after: commit })), withSecret('once-3'));
    expect((await outcome(told.id)).refs).toMatchObject([{ outcome: 'unchanged', build: builds[0] }]);
    expect(await buildsOf('web')).toEqual(builds);
  });

  it('only hints: another clone URL in it is not asked, and another project is not ours', async () => {
    const asked: string[] = [];
    await using attacker = await listen((request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    const commit = await pushThere('hint.txt');
    const repository = {
      ...(githubPush['repository'] as object),
      clone_url: attacker.url,
      ssh_url: attacker.url,
      url: attacker.url,
    };

    const taken = await send(
      'github',
      github('push', push({ after: commit, repository })),
      withSecret('hint-1'),
    );
    const other = await send(
      'github',
      github('push', push({ after: commit, repository: { ...repository, full_name: 'attacker/web' } })),
      withSecret('hint-2'),
    );

    expect((await outcome(taken.id)).refs).toMatchObject([{ outcome: 'queued' }]);
    expect(other).toMatchObject({
      status: 200,
      state: 'ignored',
      message: expect.stringMatching(/follows attacker\/web/),
    });
    expect(asked).toEqual([]);
  });

  it('with a commit that is not on the ref builds nothing and says so', async () => {
    const before = await buildsOf('web');

    const unknown = await send('github', github('push', push({ after: elsewhere })), withSecret('missing-1'));
    const noRef = await send(
      'github',
      github('push', push({ ref: 'refs/heads/nowhere', after: elsewhere })),
      withSecret('missing-2'),
    );

    expect((await outcome(unknown.id)).refs).toMatchObject([
      { outcome: 'missing', detail: expect.stringMatching(/is not on refs\/heads\/main/) },
    ]);
    expect((await outcome(noRef.id)).refs).toMatchObject([
      { outcome: 'missing', detail: 'there is no refs/heads/nowhere there' },
    ]);
    expect(await buildsOf('web')).toEqual(before);
  });

  it('that comes late builds what the ref has by then, once', async () => {
    const older = await pushThere('older.txt');
    const newer = await pushThere('newer.txt');

    const late = await send('github', github('push', push({ after: older })), withSecret('late-1'));
    const { refs } = await outcome(late.id);
    const next = await send('github', github('push', push({ after: newer })), withSecret('late-2'));

    expect(refs).toMatchObject([{ outcome: 'queued' }]);
    expect((await outcome(next.id)).refs).toMatchObject([{ outcome: 'unchanged', build: refs[0]?.build }]);
    expect(await farm.builder.git.resolveRef('shop', 'web', 'refs/heads/main')).toMatchObject({
      commit: newer,
    });
  });

  it('of a forced push takes the new history over, and back again', async () => {
    const first = await pushThere('forced-1.txt');
    await gitOk(work, 'reset', '-q', '--hard', 'HEAD~2');
    const forced = await pushThere('forced-2.txt');
    const one = await send(
      'github',
      github('push', push({ after: forced, forced: true })),
      withSecret('forced-1'),
    );
    expect((await outcome(one.id)).refs).toMatchObject([{ outcome: 'queued' }]);
    await gitOk(work, 'push', '-q', '--force', remoteUrl(), `${first}:refs/heads/main`);

    const back = await send(
      'github',
      github('push', push({ after: first, forced: true })),
      withSecret('forced-2'),
    );

    expect((await outcome(back.id)).refs).toMatchObject([{ outcome: 'queued' }]);
    expect(await farm.builder.git.resolveRef('shop', 'web', 'refs/heads/main')).toMatchObject({
      commit: first,
    });
    await gitOk(work, 'reset', '-q', '--hard', first);
  });

  it('of a branch, its deletion and tags, annotated ones among them', async () => {
    const commit = await pushThere('branch.txt', 'main:refs/heads/release/1');
    await gitOk(work, 'tag', '-a', '-m', 'one', 'v1', commit);
    await gitOk(work, 'push', '-q', remoteUrl(), 'v1');
    const refs = [
      ['refs/heads/release/1', commit],
      ['refs/tags/v1', (await gitOk(work, 'rev-parse', 'v1')).trim()],
      ['refs/heads/other', commit],
    ] as const;
    const made = await outcome((await send('generic', generic(updates(...refs)))).id);
    await gitOk(work, 'push', '-q', remoteUrl(), ':refs/heads/release/1');

    const gone = await outcome((await send('generic', generic(updates(['refs/heads/release/1', zeros])))).id);

    expect(made.refs.map(({ ref, outcome: what }) => `${ref} ${what}`)).toEqual([
      'refs/heads/release/1 queued',
      'refs/tags/v1 queued',
      'refs/heads/other skipped',
    ]);
    expect(gone.refs).toMatchObject([{ outcome: 'deleted' }]);
    expect(await farm.builder.git.resolveRef('shop', 'own', 'refs/heads/release/1')).toBeUndefined();
    // The ref is still there elsewhere: nothing goes because of a word.
    const lie = await outcome((await send('generic', generic(updates(['refs/tags/v1', zeros])))).id);
    expect(lie.refs).toMatchObject([{ ref: 'refs/tags/v1', outcome: 'unchanged' }]);
  });

  it('of a tag that is called refs/heads/main moves no branch', async () => {
    const main = await farm.builder.git.resolveRef('shop', 'web', 'refs/heads/main');
    const commit = await pushThere('odd.txt', 'main:refs/tags/refs/heads/main');

    const fields = { ref: 'refs/heads/main', ref_type: 'tag', repository: githubPush['repository'] };
    const taken = await send('github', github('create', fields), withSecret('odd-1'));

    expect((await outcome(taken.id)).refs).toMatchObject([
      { ref: 'refs/tags/refs/heads/main', outcome: 'queued' },
    ]);
    expect(await farm.builder.git.resolveRef('shop', 'web', 'refs/heads/main')).toEqual(main);
    expect(await farm.builder.git.resolveRef('shop', 'web', 'refs/tags/refs/heads/main')).toMatchObject({
      commit,
    });
    // The test's own git takes it for the branch.
    await gitOk(work, 'push', '-q', remoteUrl(), ':refs/tags/refs/heads/main');
  });

  it('of a thousand refs takes them over and builds the default branch only', async () => {
    const commit = await commitFiles(work, { 'many.txt': 'many' });
    const names = Array.from({ length: 999 }, (_, index) => `refs/heads/many/${index}`);
    await gitOk(
      work,
      'push',
      '-q',
      remoteUrl(),
      'main:refs/heads/main',
      ...names.map((name) => `main:${name}`),
    );
    const built = await buildsOf('own');

    const refs = [...names, 'refs/heads/main'].map((name) => [name, commit] as const);
    const { refs: outcomes } = await outcome((await send('generic', generic(updates(...refs)))).id);

    expect(outcomes.filter((each) => each.outcome === 'moved')).toHaveLength(999);
    expect(outcomes.filter((each) => each.outcome === 'queued').map(({ ref }) => ref)).toEqual([
      'refs/heads/main',
    ]);
    expect(await buildsOf('own')).toHaveLength(built.length + 1);
  });

  it('that asks for no build takes the ref over without one', async () => {
    const commit = await pushThere('skipped.txt');

    const taken = await send(
      'generic',
      generic({ ...updates(['refs/heads/main', commit]), options: ['build.skip'] }),
    );

    expect((await outcome(taken.id)).refs).toMatchObject([{ outcome: 'moved' }]);
    expect(await farm.builder.git.resolveRef('shop', 'own', 'refs/heads/main')).toMatchObject({ commit });
  });
});

describe('a pull request of a fork', () => {
  it('is not built unless the trigger says so', async () => {
    const sent = github('pull_request', githubPullRequest('stranger/web'));

    expect(await send('github', sent, withSecret('fork-1'))).toMatchObject({
      status: 200,
      state: 'ignored',
      message: expect.stringMatching(/forks: never/),
    });
  });

  it('is built without any right: under a ref and a tag of its own, and marked', async () => {
    const commit = await pushThere('fork.txt', 'main:refs/pull/12/head');
    await gitOk(work, 'reset', '-q', '--hard', 'HEAD~1');
    const fields = githubPullRequest('stranger/web');
    const head = { ...((fields['pull_request'] as { head: object }).head as object), sha: commit };
    const sent = github(
      'pull_request',
      { ...fields, pull_request: { ...(fields['pull_request'] as object), head } },
      `${secret} forks`,
    );

    const { refs } = await outcome((await send('github', sent, withSecret('fork-2'))).id);

    expect(refs).toMatchObject([{ ref: 'refs/pull/12/head', outcome: 'queued' }]);
    expect(await built(refs[0]?.build)).toBe('succeeded');
    const build = await farm.builder.builds.get(refs[0]?.build ?? '');
    expect(build?.request).toMatchObject({
      trusted: false,
      ref: 'refs/brickyard/pr-12',
      commit,
      pusher: 'github:stranger',
    });
    expect(build?.result).toMatchObject({ tags: ['pr-12'] });
    expect((await farm.registry.listTags('shop/forks', { limit: 100 })).entries).toEqual(['pr-12']);
    // Its default branch is the repository's, which was never fetched: nothing else may become `latest`.
    expect(await farm.builder.git.resolveRef('shop', 'forks', 'refs/heads/main')).toBeUndefined();
  });
});

describe('what is no webhook of ours', () => {
  it('is answered 401 before anything is parsed, 400 and 413 in words', async () => {
    const sent = github('push', push({}));

    const wrong = await send('github', { ...sent, body: Buffer.from('not even JSON') });
    const none = await send('gitea', sent);
    const large = await send('github', { ...sent, body: Buffer.alloc(6 * 1024 * 1024) });
    const form = await send('generic', generic([] as never));

    expect(wrong).toMatchObject({ status: 401, error: { message: expect.stringMatching(/fits no secret/) } });
    expect(none).toMatchObject({ status: 401 });
    expect(large).toMatchObject({ status: 413, error: { message: expect.stringMatching(/5242880 bytes/) } });
    expect(form).toMatchObject({ status: 400, error: { message: expect.stringMatching(/no JSON object/) } });
    expect((await fetch(`${farm.url}/hooks/github`)).status).toBe(404);
    expect((await fetch(`${farm.url}/hooks/other`, { method: 'POST' })).status).toBe(404);
  });

  it('a generic one is not taken a second time with the same nonce, and with a new one it is the same delivery', async () => {
    const fields = updates(['refs/heads/main', (await gitOk(work, 'rev-parse', 'main')).trim()]);
    const sent = generic(fields, { delivery: 'spooled-1' });

    const first = await send('generic', sent);
    const replayed = await send('generic', sent);
    const again = await send('generic', generic(fields, { delivery: 'spooled-1' }));

    expect(first.status).toBe(202);
    expect(replayed).toMatchObject({
      status: 401,
      error: { message: expect.stringMatching(/nonce was there before/) },
    });
    expect(again).toMatchObject({ status: 200, id: first.id, duplicate: true });
  });
});

describe('the fetch', () => {
  it('connects to no private address unless the trigger says so', async () => {
    const taken = await send(
      'generic',
      generic(
        { ...updates(['refs/heads/main', elsewhere]), repository: 'shop/other' },
        { key: `${secret} other` },
      ),
    );

    const { state, error } = await outcome(taken.id);

    expect({ state, error }).toEqual({
      state: 'failed',
      error: expect.stringMatching(
        /shop\/other: 127\.0\.0\.1 has the address 127\.0\.0\.1, which is not public/,
      ),
    });
  });

  it('connects to the address that was looked at, and asks nobody a second time', async () => {
    // A name that no name server knows: only the one answer leads there.
    const url = `http://git.invalid:${new URL(remote.url).port}/git/example/web.git`;
    const access = await gitAccess({ url, privateNetwork: true }, { lookup: async () => ['127.0.0.1'] });

    expect(await fetchFrom(access.url, {}, access)).toMatchObject([{ outcome: 'moved' }]);
    await expect(fetchFrom(url)).rejects.toThrow(/could not be asked/);
  });

  it('trusts the authorities of its trigger for the name of the host, and shows the token there only', async () => {
    const key = join(shop.path, 'tls-key.pem');
    const caFile = join(shop.path, 'tls.pem');
    const subject = ['-subj', '/CN=git.invalid', '-addext', 'subjectAltName=DNS:git.invalid'];
    const pair = [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      key,
      '-out',
      caFile,
    ];
    await runOk('openssl', ['req', '-x509', '-days', '2', ...subject, ...pair]);
    const wanted = `Basic ${Buffer.from('git:a-token').toString('base64')}`;
    const git = answerGit(join(work, '.git'));
    const tls = createHttpsServer(
      { key: await readFile(key), cert: await readFile(caFile) },
      (request, response) => {
        if (request.headers.authorization === wanted) git(request, response);
        else response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      },
    );
    await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
    const { port } = tls.address() as AddressInfo;
    const from = async (host: string, more: Partial<Trigger['remote']>) => {
      const url = `https://${host}:${port}/git/a/tls.git`;
      const access = await gitAccess(
        { url, privateNetwork: true, ...more },
        { lookup: async () => ['127.0.0.1'] },
      );
      return fetchFrom(access.url, {}, access);
    };
    const login = { username: 'git', token: 'a-token' };

    expect(await from('git.invalid', { caFile, login })).toMatchObject([{ outcome: 'moved' }]);
    await expect(from('git.invalid', { login })).rejects.toThrow(/certificate is not good/);
    await expect(from('other.invalid', { caFile, login })).rejects.toThrow(/certificate is not good/);
    await expect(from('git.invalid', { caFile })).rejects.toThrow(/was not let in: check the token/);
    tls.close();
    tls.closeAllConnections();
  });

  it('speaks no transport but that of the address', async () => {
    const { variables } = await gitAccess({ url: 'https://127.0.0.1/a/b', privateNetwork: true });
    const marker = join(shop.path, 'ran');

    for (const url of [
      `ext::sh -c touch% ${marker}`,
      `EXT::sh -c touch% ${marker}`,
      `file://${work}/.git`,
      work,
      remoteUrl(),
    ]) {
      await expect(fetchFrom(url, {}, { variables })).rejects.toThrow(
        /transport is not allowed|could not be asked/,
      );
    }
    await expect(readFile(marker)).rejects.toThrow('ENOENT');
  });

  it('takes submodules for what they are in the tree, and asks nobody for them', async () => {
    const asked: string[] = [];
    await using module = await listen((request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    const outer = await createWork(join(shop.path, 'outer'), {
      '.gitmodules': `[submodule "x"]\n\tpath = x\n\turl = ${module.url}/a/b.git\n[submodule "../../.git/hooks"]\n\tpath = y\n\turl = -x\n`,
    });
    await gitOk(outer, 'update-index', '--add', '--cacheinfo', `160000,${elsewhere},x`);
    await gitOk(outer, 'commit', '-q', '-m', 'with a submodule');
    await using server = await serveFolder(join(outer, '.git'));

    const evil = fetchFrom(`${server.url}/git/a/outer.git`);

    await expect(evil).rejects.toThrow(/objects that are not taken.*gitmodulesName/);
    await commitFiles(outer, {
      '.gitmodules': `[submodule "x"]\n\tpath = x\n\turl = ${module.url}/a/b.git\n`,
    });
    await gitOk(outer, 'checkout', '-q', '--orphan', 'clean');
    await gitOk(outer, 'commit', '-q', '-m', 'clean');
    await gitOk(outer, 'branch', '-q', '-M', 'clean', 'main');
    expect(await fetchFrom(`${server.url}/git/a/outer.git`)).toMatchObject([{ outcome: 'moved' }]);
    expect(asked).toEqual([]);
  });

  it('follows no redirect and says where it was stopped', async () => {
    await using redirecting = await listen((request, response) => {
      response.writeHead(302, { location: `${remote.url}${request.url}` }).end();
    });
    await expect(fetchFrom(`${redirecting.url}/git/example/web.git`)).rejects.toThrow(
      /redirects elsewhere, which is not followed/,
    );
  });

  it('ends when there is more than it takes', async () => {
    await expect(fetchFrom(remoteUrl(), { bytes: 100 })).rejects.toThrow('it is larger than 100 bytes');
    await expect(fetchFrom(remoteUrl(), { objects: 3 })).rejects.toThrow('it has more than 3 objects');
    await using silent = await listen(() => {});
    await expect(fetchFrom(`${silent.url}/a/b`, { milliseconds: 500 })).rejects.toThrow(/took longer than/);
  });

  it('takes no object that could harm a checkout, though nothing is ever checked out', async () => {
    const evil = await createWork(join(shop.path, 'evil'));
    const inner = (await gitOk(evil, 'rev-parse', 'HEAD^{tree}')).trim();
    const tree = (
      await runOk('git', ['mktree'], { cwd: evil, input: `040000 tree ${inner}\t.GIT\n` })
    ).trim();
    await gitOk(evil, 'update-ref', 'HEAD', (await gitOk(evil, 'commit-tree', '-m', 'evil', tree)).trim());
    await using server = await serveFolder(join(evil, '.git'));

    await expect(fetchFrom(`${server.url}/git/a/evil.git`)).rejects.toThrow(
      /objects that are not taken.*hasDotgit/,
    );
  });

  it('takes nothing from a server of plain files, whose objects git would not look into', async () => {
    const plain = await createWork(join(shop.path, 'plain'));
    await gitOk(plain, 'repack', '-q', '-a', '-d');
    await gitOk(plain, 'update-server-info');
    await using server = await listen((request, response) => {
      const [path = ''] = (request.url ?? '').split('?');
      readFile(join(plain, '.git', path.slice('/plain'.length))).then(
        (content) => response.end(content),
        () => response.writeHead(404).end(),
      );
    });

    await expect(fetchFrom(`${server.url}/plain`)).rejects.toThrow(/does not speak the smart HTTP protocol/);
  });
});

describe('a process that dies', () => {
  it('after its 202 has lost nothing: another works the webhook off', async () => {
    await farm.close();
    const front = await open({ work: false });
    const commit = await pushThere('crash.txt');
    const taken = await send('github', github('push', push({ after: commit })), withSecret('crash-1'), front);
    await front.close();

    farm = await open();

    expect(taken.status).toBe(202);
    expect((await outcome(taken.id)).refs).toMatchObject([{ outcome: 'queued' }]);
    expect(await farm.builder.git.resolveRef('shop', 'web', 'refs/heads/main')).toMatchObject({ commit });
  });
});

function fetchFrom(
  url: string,
  limits: Partial<FetchSource['limits']> = {},
  access: Partial<Pick<FetchSource, 'settings' | 'variables'>> = {},
) {
  return farm.builder.git.fetchRefs(
    {
      team: 'shop',
      app: `fetch-${Math.random().toString(36).slice(2)}`,
      pusher: 'test',
      options: ['build.skip'],
      refs: [{ from: 'refs/heads/main', to: 'refs/heads/main' }],
    },
    {
      settings: [],
      variables: { GIT_ALLOW_PROTOCOL: 'http' },
      ...access,
      url,
      limits: { bytes: 1e9, objects: 1e6, milliseconds: 60_000, ...limits },
    },
    new AbortController().signal,
  );
}

/** A git server that looks into nothing of what it serves. */
function serveFolder(folder: string): ReturnType<typeof listen> {
  return listen(answerGit(folder));
}

function answerGit(folder: string): RequestListener {
  return (request, response) => {
    const path = parseGitPath(request.url ?? '', request.method ?? '');
    if ('refused' in path) return void response.writeHead(404).end();
    const environment = { ...process.env, GIT_DIR: '.' } as Record<string, string>;
    void runGitService(request, response, { folder, environment, path });
  };
}

async function listen(answer: RequestListener): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
