import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Build } from '../../../builder/farm/build-service.ts';
import type { Authenticator } from '../../../core/auth/authenticator.ts';
import type { Authorizer } from '../../../core/auth/authorizer.ts';
import { type Digest, isDigest } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import type { Registry } from '../../../oci/registry.ts';
import { waitFor } from '../../helpers/process.ts';
import { appYaml, commitFiles, createWork, type Farm, pushBase, startFarm } from './farm-fixture.ts';
import { createWorkshop, git, gitOk } from './git-fixture.ts';

async function tagsOf(farm: Farm, repository: string): Promise<readonly string[]> {
  return (await farm.registry.listTags(repository, { limit: 100 })).entries;
}

/** The files of the topmost layer, by their paths. */
async function filesOf(farm: Farm, repository: string, tag: string): Promise<Record<string, string>> {
  const { bytes } = await farm.registry.getManifest(repository, tag);
  const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: Digest }[] };
  const { body } = await farm.registry.getBlob(repository, (layers.at(-1) as { digest: Digest }).digest);
  const files: Record<string, string> = {};
  for await (const { entry, body: content } of readTar(Readable.from([gunzipSync(await buffer(body))]))) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    files[entry.path] = Buffer.concat(chunks).toString();
  }
  return files;
}

/** The only build, when its record says how it ended: a little after its log does. */
async function endedBuild(farm: Farm): Promise<Build | undefined> {
  let build: Build | undefined;
  await waitFor(
    async () => {
      [build] = await farm.builder.builds.list();
      return build?.finishedAt !== undefined;
    },
    { what: 'the end of the build' },
  );
  return build;
}

/** Deletes the base once, when a build has its plan and begins to read the base, and then does `and`. */
function afterPlanning(registry: Registry, and: () => void | Promise<void>): Registry {
  let done = false;
  return {
    ...registry,
    async getManifest(repository, reference) {
      if (!done && isDigest(reference)) {
        done = true;
        await registry.deleteManifest(repository, reference);
        await and();
      }
      return registry.getManifest(repository, reference);
    },
  };
}

describe('a push becomes an image', () => {
  it('builds, tags and prints the reference and the digest', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.code).toBe(0);
    const { digest } = await farm.registry.resolveManifest('team/app', 'main');
    expect(pushed.stderr).toContain(`${farm.host}/team/app:main`);
    expect(pushed.stderr).toContain(digest);
    expect(pushed.stderr).toMatch(/1 layer mounted 1\.0 KB, 1 layer stored \d+ B/);
    for (const tag of ['latest', commit.slice(0, 12)]) {
      expect((await farm.registry.resolveManifest('team/app', tag)).digest).toBe(digest);
    }
    const { bytes } = await farm.registry.getManifest('team/app', 'main');
    const manifest = JSON.parse(bytes.toString()) as {
      annotations: Record<string, string>;
      layers: unknown[];
    };
    expect(manifest.annotations['org.opencontainers.image.revision']).toBe(commit);
    expect(manifest.layers).toHaveLength(2);
  });

  it('reports a broken App.yaml with its place, and keeps the push', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'), { 'App.yaml': appYaml.replace('cmd', 'cmdd') });
    const url = `${farm.url}/git/team/app.git`;

    const pushed = await git(work, 'push', url, 'main');

    expect(pushed.code).toBe(0);
    expect(pushed.stderr).toMatch(/App\.yaml:5:5 error/);
    expect(pushed.stderr).toContain('did you mean "cmd"');
    expect(pushed.stderr).toContain('✗ App.yaml: ');
    expect((await gitOk(work, 'ls-remote', url, 'refs/heads/main')).slice(0, 40)).toBe(
      (await gitOk(work, 'rev-parse', 'HEAD')).trim(),
    );
    expect(await endedBuild(farm)).toMatchObject({ state: 'failed' });
  });

  it('reports a runtime script that could not run, with its place (builder.md 6, row 37)', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'), {
      'App.yaml': `${appYaml}runtime: bin/runtime.sh\n`,
      'bin/runtime.sh': 'set -e\n',
    });

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toMatch(/bin\/runtime\.sh:1:1 error E023/);
    expect(pushed.stderr).toContain('✗ bin/runtime.sh: 1 error');
  });

  it.each([
    ['nodejs:27', /there is no base image "nodejs:27" \(did you mean "nodejs:26"/],
    ['nodjs', /there is no base image "nodjs".*did you mean "nodejs:26"/],
  ])('says that there is no base %s and what is near', async (base, message) => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'), {
      'App.yaml': appYaml.replace('nodejs:26', base),
    });

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toMatch(message);
  });

  it('refuses the first image on a base that is closed for new ones, and warns of it for others', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');
    await pushBase(farm.registry, 1000, ['nodejs', '26'], {
      'org.brickyard.base.deprecation': '{"level":"block-new","replacement":"nodejs:28"}',
    });
    await commitFiles(work, { 'server.js': 'changed' });

    const old = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');
    await commitFiles(work, { 'App.yaml': appYaml.replace('appname: app\n', '') });
    const fresh = await git(work, 'push', `${farm.url}/git/team/fresh.git`, 'main');

    expect(old.stderr).toMatch(/warning W001 base: the base image nodejs:26 is deprecated.*write nodejs:28/);
    expect(old.stderr).toContain('✓ image');
    expect(fresh.stderr).toMatch(/error E022 base: .*team\/fresh has no image on it yet/);
  });

  it('prints what init proposes when there is no App.yaml', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    const work = await createWork(join(shop.path, 'work'), {
      'package.json': '{"scripts":{"start":"node ."}}',
    });

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toContain('appname: app');
    expect(pushed.stderr).toContain('base: nodejs:26');
    expect(pushed.code).toBe(0);
  });

  it('says what to do when App.yaml has commands and no engine answers', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'), { 'App.yaml': `${appYaml}build: [npm ci]\n` });

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toContain('no container engine answers; start Docker or Podman, or remove them');
  });

  it('builds each application of a repository when its own files changed, and none stops the others', async () => {
    await using shop = await createWorkshop();
    const rights: string[] = [];
    await using farm = await startFarm({
      ...shop,
      authorizer: {
        may(principal, action, repository) {
          if (action === 'push' && repository !== 'team/mono') rights.push(`${principal.name} ${repository}`);
          return repository !== 'team/forbidden';
        },
      },
    });
    await pushBase(farm.registry);
    const own = appYaml.replace('appname: app\n', '');
    const work = await createWork(join(shop.path, 'work'), {
      'services/pay/App.yaml': own,
      'services/pay/server.js': 'one',
      'web/App.yaml': own,
      'broken/App.yaml': own.replace('cmd', 'cmdd'),
      'other/App.yaml': `appname: forbidden\n${own}`,
      'node_modules/x/App.yaml': own,
    });
    const url = `${farm.url}/git/team/mono.git`;

    const first = await git(work, 'push', url, 'main');
    const failed = await endedBuild(farm);
    const { digest } = await farm.registry.resolveManifest('team/pay', 'main');
    const web = await farm.registry.resolveManifest('team/web', 'latest');
    await gitOk(work, 'rm', '-rq', 'broken', 'other');
    const commit = await commitFiles(work, { 'services/pay/server.js': 'two' });
    const second = await git(work, 'push', url, 'main');

    expect(first.stderr).toMatch(/broken │ broken\/App\.yaml:4:5 error/);
    expect(first.stderr).toMatch(/other │ {3}✗ appname "forbidden" asks for .* may not push there/);
    expect(failed?.error).toMatch(/^2 of 4 applications failed: broken \(.*\); other \(/);
    expect(rights).toContain('anonymous team/pay');
    expect(second.stderr).toMatch(/services\/pay │ {3}✓ image/);
    expect(second.stderr).toMatch(/web │ {3}= its files are those of build [0-9a-f-]{36}: nothing to make/);
    expect((await farm.registry.resolveManifest('team/pay', 'main')).digest).not.toBe(digest);
    const tag = commit.slice(0, 12);
    expect((await farm.registry.resolveManifest('team/web', tag)).digest).toBe(web.digest);
    const build = await endedBuild(farm);
    expect(build?.result).toMatchObject({
      repository: 'team/pay',
      images: [{ directory: 'services/pay' }, { directory: 'web', unchanged: true, digest: web.digest }],
    });
  });

  it('takes files as git has them: no filter, substitution or line end of .gitattributes counts (builder.md 6, row 17)', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    await commitFiles(work, {
      'a.txt': '$Format:%H$ $Id$\n',
      '.gitattributes': '*.txt filter=evil export-subst ident text eol=crlf\nb.txt export-ignore\n',
      'b.txt': 'b\n',
    });

    await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');
    const files = await filesOf(farm, 'team/app', 'main');

    expect(files['home/app/a.txt']).toBe('$Format:%H$ $Id$\n');
    expect(files['home/app/b.txt']).toBe('b\n');
  });

  it('says what to do about submodules and Git LFS pointers (rows 16 and 17)', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;
    await commitFiles(work, {
      'model.bin': `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 9\n`,
    });
    const pointer = await git(work, 'push', url, 'main');
    await gitOk(work, 'rm', '-q', 'model.bin');
    await gitOk(work, 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},lib/x`);
    await gitOk(work, 'commit', '-qm', 'submodule');

    const submodule = await git(work, 'push', url, 'main');

    expect(pointer.stderr).toMatch(
      /✗ "model\.bin" cannot enter the image: it is a Git LFS pointer.*git lfs untrack/,
    );
    expect(submodule.stderr).toMatch(
      /App\.yaml:1:1 error E024 "lib\/x" is a git submodule.*source: \{ exclude/,
    );
    await expect(farm.registry.resolveManifest('team/app', 'main')).rejects.toThrow();
  });

  it('names tags after branches and git tags, and refuses a clash', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;
    await gitOk(work, 'tag', '-a', 'v1.0', '-m', 'one');

    const pushed = await git(work, 'push', url, 'main', 'v1.0', 'main:refs/heads/feature/x');
    const clash = await git(work, 'push', url, 'main:refs/heads/v1.0');

    expect(pushed.stderr).toMatch(/feature\/x │ {3}✓ tags/);
    expect(await tagsOf(farm, 'team/app')).toEqual(
      [
        (await gitOk(work, 'rev-parse', 'HEAD')).slice(0, 12),
        'feature-x-2bdd6c',
        'latest',
        'main',
        'v1.0',
      ].sort((a, b) => (a < b ? -1 : 1)),
    );
    expect(clash.stderr).toContain('the tag team/app:v1.0 belongs to team/app refs/tags/v1.0');
  });

  it('does not build or not wait when asked so, and names options that it does not know', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, work: false });
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;

    const skipped = await git(work, 'push', '-o', 'build.skip', '-o', 'what', url, 'main');
    const queued = await git(work, 'push', '-o', 'build.nowait', url, 'main:refs/heads/two');

    expect(skipped.stderr).toContain('no build, as asked');
    expect(skipped.stderr).toContain('push option "what" is not known');
    expect(queued.stderr).toMatch(/build [0-9a-f-]{36} is queued for two/);
    expect(await farm.builder.builds.list()).toHaveLength(1);
  });

  it('lets the newer push win when the older build ends last', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, work: false });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;
    await git(work, 'push', '-q', '-o', 'build.nowait', url, 'main');
    const newer = await commitFiles(work, { 'server.js': 'console.log(2)' });
    await git(work, 'push', '-q', '-o', 'build.nowait', url, 'main');
    // The newest first, as when the older one was held up.
    const [second, first] = await farm.builder.builds.list();
    await farm.builder.builds.cancel(first?.id ?? '', 'test');
    const worker = farm.builder.work({ concurrency: 1 });
    await waitFor(async () => (await farm.builder.builds.get(second?.id ?? ''))?.state === 'succeeded', {
      what: 'the newer build',
    });

    const late = await farm.builder.builds.retry(first?.id ?? '');
    await waitFor(async () => (await farm.builder.builds.get(late?.id ?? ''))?.state === 'succeeded', {
      what: 'the older build',
    });

    await worker.close();
    const { bytes } = await farm.registry.getManifest('team/app', 'main');
    expect(bytes.toString()).toContain(newer);
    const log: string[] = [];
    for await (const line of farm.builder.builds.log(late?.id ?? '').stored(new AbortController().signal))
      log.push(line);
    expect(log.join('\n')).toContain('main stays where it is: a newer push has it');
  });

  it('builds only the newest of the pushes to a branch that wait, and tells who waits for the others', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, work: false });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;
    const older = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    const waiting = git(work, 'push', url, 'main');
    await waitFor(async () => (await farm.builder.builds.list()).length === 1, { what: 'the older build' });
    const newer = await commitFiles(work, { 'server.js': 'console.log(2)' });
    await git(work, 'push', '-q', '-o', 'build.nowait', url, 'main', 'main:feature');
    const worker = farm.builder.work({ concurrency: 1 });

    const pushed = await waiting;
    await waitFor(
      async () => (await farm.builder.builds.list()).every(({ finishedAt }) => finishedAt !== undefined),
      { what: 'the end of all builds' },
    );
    await worker.close();

    const builds = await farm.builder.builds.list();
    const main = builds.filter(({ request }) => request.ref === 'refs/heads/main');
    expect(main.map(({ state }) => state)).toEqual(['succeeded', 'superseded']);
    expect(builds.find(({ request }) => request.ref.endsWith('feature'))).toMatchObject({
      state: 'succeeded',
      tenant: 'team',
      lane: 'branch',
    });
    expect(pushed.stderr).toContain(`superseded by ${main[0]?.id}`);
    expect((await farm.registry.getManifest('team/app', 'main')).bytes.toString()).toContain(newer);
    await expect(farm.registry.getManifest('team/app', older.slice(0, 12))).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
  });

  it('builds a push again that somebody asks for, although a newer one waits', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, work: false });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const url = `${farm.url}/git/team/app.git`;
    await git(work, 'push', '-q', '-o', 'build.nowait', url, 'main');
    const [first] = await farm.builder.builds.list();
    await farm.builder.builds.cancel(first?.id ?? '', 'test');
    const newer = await commitFiles(work, { 'server.js': 'console.log(2)' });
    await git(work, 'push', '-q', '-o', 'build.nowait', url, 'main');

    const again = await farm.builder.builds.retry(first?.id ?? '');
    const worker = farm.builder.work({ concurrency: 1 });
    await waitFor(
      async () => (await farm.builder.builds.list()).every(({ finishedAt }) => finishedAt !== undefined),
      { what: 'the end of all builds' },
    );
    await worker.close();

    const states = (await farm.builder.builds.list()).map(({ id, state }) => [id, state]);
    expect(states[0]).toEqual([again?.id, 'succeeded']);
    expect(states.map(([, state]) => state)).toEqual(['succeeded', 'succeeded', 'cancelled']);
    expect((await farm.registry.getManifest('team/app', 'main')).bytes.toString()).toContain(newer);
  });

  it('says that a base was deleted during the build, and fails without a tag (builder.md 6, row 31)', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, between: (registry) => afterPlanning(registry, () => {}) });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toMatch(/! the base image nodejs:26 .* was deleted or replaced during the build/);
    expect(pushed.stderr).not.toContain('a fault of its own');
    expect(pushed.stderr).toMatch(/attempt 2[^]*App\.yaml:2:7 error E022 base: there is no base image/);
    expect(await endedBuild(farm)).toMatchObject({ state: 'failed', attempts: 2 });
    await expect(farm.registry.resolveManifest('team/app', 'main')).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    });
  });

  it('takes the new base when it was replaced during the build (row 31)', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({
      ...shop,
      between: (registry) => afterPlanning(registry, () => pushBase(registry, 2000)),
    });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toMatch(/attempt 2[^]*1 layer mounted 2\.0 KB/);
    expect(await endedBuild(farm)).toMatchObject({ state: 'succeeded', attempts: 2 });
  });

  it('asks for the push right where appname names another repository', async () => {
    await using shop = await createWorkshop();
    const authorizer: Authorizer = { may: (_who, _action, repository) => repository === 'team/app' };
    const authenticator: Authenticator = {
      required: true,
      identify: async () => ({ principal: { name: 'dev', anonymous: false }, authorizer }),
    };
    await using farm = await startFarm({ ...shop, authorizer, authenticator });
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'), {
      'App.yaml': appYaml.replace('appname: app', 'appname: other'),
    });

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toContain('asks for the image repository team/other, and dev may not push there');
    await expect(farm.registry.listTags('team/other', { limit: 1 })).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    });
  });

  it('shows builds through the API to those who may pull only', async () => {
    await using shop = await createWorkshop();
    let allowed = true;
    const authorizer: Authorizer = { may: () => allowed };
    const authenticator: Authenticator = {
      required: true,
      identify: async () => ({ principal: { name: 'dev', anonymous: false }, authorizer }),
    };
    await using farm = await startFarm({ ...shop, authorizer, authenticator, work: false });
    const work = await createWork(join(shop.path, 'work'));
    await git(work, 'push', '-q', '-o', 'build.nowait', `${farm.url}/git/team/app.git`, 'main');
    const [build] = await farm.builder.builds.list();
    const read = async (path: string): Promise<{ status: number; body: unknown }> => {
      const response = await fetch(`${farm.url}/api/v1/builds${path}`);
      return { status: response.status, body: await response.json() };
    };

    const seen = await read(`/${build?.id}`);
    const events = await fetch(`${farm.url}/api/v1/builds/${build?.id}/log/stream`, {
      headers: { 'last-event-id': 'nonsense' },
    });
    await farm.builder.builds.cancel(build?.id ?? '', 'somebody');
    const negotiated = await fetch(`${farm.url}/api/v1/builds/${build?.id}/log`, {
      headers: { accept: 'text/event-stream' },
    });
    const stream = await negotiated.text();
    const foreign = await fetch(`${farm.url}/api/v1/builds/${build?.id}/retry`, {
      method: 'POST',
      headers: { 'sec-fetch-site': 'cross-site' },
    });
    allowed = false;

    expect(seen).toMatchObject({ status: 200, body: { repository: 'team/app', state: 'queued' } });
    expect(events.status).toBe(400);
    expect(negotiated.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(negotiated.headers.get('x-accel-buffering')).toBe('no');
    expect(stream).toBe(
      'retry: 1000\n\nevent: end\ndata: {"state":"cancelled","error":"cancelled by somebody"}\n\n',
    );
    expect(foreign.status).toBe(403);
    for (const path of ['', '/log', '/log/stream', '/record'])
      expect(await read(`/${build?.id}${path}`)).toMatchObject({ status: 404 });
    expect(await read('')).toEqual({ status: 200, body: { builds: [] } });
    expect((await read('/..%2fx')).status).toBe(400);
  });
});
