import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PlanView, WaveDetailView, WaveView } from '../../../builder/http/base-image-views.ts';
import { defaultPropagation } from '../../../builder/propagate/settings.ts';
import { run } from '../../../cli/main.ts';
import type { Authenticator } from '../../../core/auth/authenticator.ts';
import type { Authorizer } from '../../../core/auth/authorizer.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { waitFor } from '../../helpers/process.ts';
import { pushStackedImage } from '../../helpers/stacked-image.ts';
import { commitFiles, createWork, type Farm, startFarm } from './farm-fixture.ts';
import { createWorkshop, gitOk } from './git-fixture.ts';

const contract = { 'org.brickyard.base.abi': 'debian12/nodejs26', 'org.brickyard.base.rebase': 'compatible' };

/** A generation of the base image; `abi` makes it incompatible. */
function pushBase(registry: Registry, generation: number, abi?: string): Promise<Digest> {
  return pushStackedImage(
    registry,
    'baseimages/nodejs',
    {
      layers: [`debian ${generation}`, `node ${generation}`],
      config: { Env: ['PATH=/usr/bin', `NODE_GENERATION=${generation}`] },
      annotations: { ...contract, ...(abi === undefined ? {} : { 'org.brickyard.base.abi': abi }) },
    },
    ['26', `26.${generation}-0000000${generation}`],
  );
}

interface Image {
  readonly digest: Digest;
  readonly layers: readonly string[];
  readonly base: string;
}

async function image(farm: Farm, repository: string, reference: string): Promise<Image> {
  const { bytes, descriptor } = await farm.registry.getManifest(repository, reference);
  const { layers, annotations } = JSON.parse(bytes.toString()) as {
    layers: { digest: string }[];
    annotations?: Record<string, string>;
  };
  return {
    digest: descriptor.digest,
    layers: layers.map(({ digest }) => digest),
    base: annotations?.['org.opencontainers.image.base.digest'] ?? '',
  };
}

async function post(
  farm: Farm,
  path: string,
  body: object = {},
): Promise<{ status: number; waves: WaveView[] }> {
  const response = await fetch(`${farm.url}/api/v1/base-images/nodejs/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const { waves = [] } = (await response.json()) as { waves?: WaveView[] };
  return { status: response.status, waves };
}

async function get<T>(farm: Farm, path: string): Promise<T> {
  return (await fetch(`${farm.url}/api/v1/base-images/nodejs/${path}`)).json() as Promise<T>;
}

/** With what came of each image. */
async function ended(farm: Farm, waves: readonly WaveView[]): Promise<WaveDetailView> {
  expect(waves).toHaveLength(1);
  let detail: WaveDetailView | undefined;
  await waitFor(
    async () => {
      detail = await get<WaveDetailView>(farm, `waves/${waves[0]?.id}`);
      return detail.wave.finishedAt !== undefined;
    },
    { what: 'the end of the wave', timeoutMs: 60_000 },
  );
  if (detail === undefined) throw new Error('no wave');
  return detail;
}

async function untilBuilt(farm: Farm, id = ''): Promise<void> {
  await waitFor(async () => (await farm.builder.builds.get(id))?.finishedAt !== undefined, {
    what: 'the end of the build',
  });
}

async function pushApp(farm: Farm, work: string, app: string, ...refs: string[]): Promise<void> {
  await gitOk(work, 'push', '-q', `${farm.url}/git/${app}.git`, ...(refs.length === 0 ? ['main'] : refs));
}

describe('a base image that changed', () => {
  it('gets under every app on it without a build, and the old images come back by undo', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry, 1);
    const work = await createWork(join(shop.path, 'work'));
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    await pushApp(farm, work, 'a/app', 'main', 'main:refs/heads/feature');
    await pushApp(farm, work, 'b/app');
    const before = await image(farm, 'a/app', 'main');
    const builds = await farm.builder.builds.list();

    const fresh = await pushBase(farm.registry, 2);
    const plan = await get<PlanView>(farm, 'plan');
    const { status, waves } = await post(farm, 'rebase', { channel: '26' });
    const { wave, images } = await ended(farm, waves);

    expect(status).toBe(202);
    const planned = { current: false, action: 'rebase' };
    expect(plan.channels).toMatchObject([
      {
        repository: 'baseimages/nodejs',
        channel: '26',
        digest: fresh,
        images: [
          { ...planned, repository: 'a/app', tags: ['feature', 'latest', 'main'] },
          { ...planned, repository: 'b/app', tags: ['latest', 'main'] },
        ],
      },
    ]);
    expect(wave).toMatchObject({ state: 'succeeded', by: 'anonymous', counts: { rebased: 2, failed: 0 } });
    expect(images.map(({ outcome }) => outcome)).toEqual(['rebased', 'rebased']);
    const after = await image(farm, 'a/app', 'main');
    expect(after.base).toBe(fresh);
    expect(after.layers).toEqual([digestOf('debian 2'), digestOf('node 2'), before.layers.at(-1)]);
    for (const tag of ['feature', 'latest', `${commit.slice(0, 12)}-00000002`]) {
      expect((await image(farm, 'a/app', tag)).digest).toBe(after.digest);
    }
    expect((await image(farm, 'a/app', commit.slice(0, 12))).digest).toBe(before.digest);
    expect(await farm.builder.builds.list()).toHaveLength(builds.length);

    // A build of the same commit on the new base is the very same image.
    const again = await farm.builder.builds.retry(builds[0]?.id ?? '');
    await untilBuilt(farm, again?.id);
    expect((await farm.builder.builds.get(again?.id ?? ''))?.result?.['digest']).toBe(
      (await image(farm, 'b/app', 'main')).digest,
    );

    const undone = await ended(farm, (await post(farm, 'undo')).waves);
    expect(undone.images).toMatchObject([
      { repository: 'a/app', digest: after.digest, newDigest: before.digest, outcome: 'restored' },
      { repository: 'b/app', outcome: 'restored', moved: ['latest', 'main'] },
    ]);
    for (const tag of ['feature', 'latest', 'main']) {
      expect((await image(farm, 'a/app', tag)).digest).toBe(before.digest);
    }
    expect((await post(farm, 'undo')).status).toBe(409);
  });

  it('leaves a tag alone that a newer push, somebody by hand or a deletion has meanwhile', async () => {
    await using shop = await createWorkshop();
    let meanwhile: (() => Promise<void>) | undefined;
    await using farm = await startFarm({
      ...shop,
      between: (registry) => ({
        ...registry,
        // The first thing that a rebase writes.
        async mountBlob(repository, digest, ...rest) {
          const run = digest === digestOf('debian 2') ? meanwhile : undefined;
          if (run !== undefined) meanwhile = undefined;
          await run?.();
          return registry.mountBlob(repository, digest, ...rest);
        },
      }),
    });
    await pushBase(farm.registry, 1);
    const work = await createWork(join(shop.path, 'work'));
    const refs = ['main', 'main:refs/heads/two', 'main:refs/heads/three', 'main:refs/heads/four'];
    await pushApp(farm, work, 'a/app', ...refs);
    const byHand = await pushStackedImage(farm.registry, 'a/app', { layers: ['by hand'] });
    const newer = await commitFiles(work, { 'server.js': 'console.log(2)' });
    const fresh = await pushBase(farm.registry, 2);
    meanwhile = async () => {
      await pushApp(farm, work, 'a/app');
      const { bytes, descriptor } = await farm.registry.getManifest('a/app', byHand);
      await farm.registry.putManifest('a/app', 'two', bytes, descriptor.mediaType);
      await farm.registry.deleteTag('a/app', 'three');
    };

    const { images } = await ended(farm, (await post(farm, 'rebase')).waves);

    expect(images).toMatchObject([{ outcome: 'rebased', moved: ['four'] }]);
    expect(new Map(images[0]?.left?.map(({ tag, reason }) => [tag, reason]))).toEqual(
      new Map([
        ['latest', 'a newer push has it'],
        ['main', 'a newer push has it'],
        ['three', 'it was deleted'],
        ['two', 'somebody moved it'],
      ]),
    );
    const main = await farm.registry.getManifest('a/app', 'main');
    expect(main.bytes.toString()).toContain(newer);
    expect((await image(farm, 'a/app', 'two')).digest).toBe(byHand);
    expect((await image(farm, 'a/app', 'four')).base).toBe(fresh);
  });

  it('is built under an app again when its contract changed, of the same commit and as the same push', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry, 1);
    const work = await createWork(join(shop.path, 'work'));
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    await pushApp(farm, work, 'a/app');
    const before = await image(farm, 'a/app', 'main');
    const [first] = await farm.builder.builds.list();

    const fresh = await pushBase(farm.registry, 2, 'debian13/nodejs26');
    const plan = await get<PlanView>(farm, 'plan?channel=26');
    const { wave, images } = await ended(farm, (await post(farm, 'rebase')).waves);

    const reason = 'the contract changed from debian12/nodejs26 to debian13/nodejs26';
    expect(plan.channels[0]?.images).toMatchObject([{ action: 'rebuild', reason }]);
    expect(wave.counts).toMatchObject({ rebased: 0, rebuilt: 1 });
    expect(images).toMatchObject([{ outcome: 'rebuilt', reason, digest: before.digest }]);
    const [rebuild] = await farm.builder.builds.list();
    expect(rebuild).toMatchObject({
      id: images[0]?.build,
      state: 'succeeded',
      request: { commit, sequence: first?.request.sequence, ref: 'refs/heads/main' },
    });
    const after = await image(farm, 'a/app', 'main');
    expect(after.base).toBe(fresh);
    expect((await image(farm, 'a/app', `${commit.slice(0, 12)}-00000002`)).digest).toBe(after.digest);
    expect((await image(farm, 'a/app', commit.slice(0, 12))).digest).toBe(before.digest);

    await ended(farm, (await post(farm, 'undo', { moveChannel: true })).waves);
    expect((await image(farm, 'a/app', 'main')).digest).toBe(before.digest);
    expect((await image(farm, 'baseimages/nodejs', '26')).digest).toBe(before.base);
  });

  it('reaches one app first and stops there when that fails', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry, 1);
    const work = await createWork(join(shop.path, 'work'));
    await pushApp(farm, work, 'a/app');
    await pushApp(farm, work, 'b/app');
    const b = await image(farm, 'b/app', 'main');
    await pushBase(farm.registry, 2, 'debian13/nodejs26');
    // The source of the first one is gone, so it cannot be built again.
    const lost = await shop.store.list({ prefix: 'git/a/app/' });
    await shop.store.deleteMany(lost.objects.map(({ key }) => key));

    const { wave, images } = await ended(farm, (await post(farm, 'rebase', { canary: 1 })).waves);

    expect(wave).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('a/app, one of the first 1, failed'),
    });
    expect(images.map(({ outcome, canary }) => [outcome, canary])).toEqual([
      ['failed', true],
      [undefined, false],
    ]);
    expect((await image(farm, 'b/app', 'main')).digest).toBe(b.digest);
  });

  it('starts a wave by itself when it was made anew, but not when it is first seen', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, propagation: { ...defaultPropagation, mode: 'auto' } });
    await pushBase(farm.registry, 1);
    const work = await createWork(join(shop.path, 'work'));
    await pushApp(farm, work, 'a/app');
    const before = await image(farm, 'a/app', 'main');

    const seen = await post(farm, 'changed');
    const fresh = await pushBase(farm.registry, 2);
    const changed = await post(farm, 'changed');
    const { wave } = await ended(farm, changed.waves);

    expect(seen.waves).toEqual([]);
    expect(wave).toMatchObject({ automatic: true, by: 'brickyard', counts: { rebased: 1 } });
    expect((await image(farm, 'a/app', 'main')).base).toBe(fresh);
    expect((await post(farm, 'changed')).waves).toEqual([]);

    const undone = await ended(farm, (await post(farm, 'undo', { moveChannel: true })).waves);
    expect(undone.wave.counts).toMatchObject({ restored: 1 });
    expect((await image(farm, 'a/app', 'main')).digest).toBe(before.digest);
    expect((await image(farm, 'baseimages/nodejs', '26')).digest).toBe(before.base);
    expect((await post(farm, 'changed')).waves).toEqual([]);
  });

  it('that moves while an app is built reaches that app as well', async () => {
    await using shop = await createWorkshop();
    let meanwhile: (() => Promise<void>) | undefined;
    await using farm = await startFarm({
      ...shop,
      propagation: { ...defaultPropagation, mode: 'auto' },
      between: (registry) => ({
        ...registry,
        // The build has its plan, and begins to lay its layer over the base.
        async mountBlob(...args) {
          const run = meanwhile;
          meanwhile = undefined;
          await run?.();
          return registry.mountBlob(...args);
        },
      }),
    });
    await pushBase(farm.registry, 1);
    await post(farm, 'changed');
    const work = await createWork(join(shop.path, 'work'));
    let fresh: Digest | undefined;
    meanwhile = async () => {
      fresh = await pushBase(farm.registry, 2);
      expect((await post(farm, 'changed')).waves).toEqual([]);
    };

    await pushApp(farm, work, 'a/app');

    await waitFor(async () => (await image(farm, 'a/app', 'main')).base === fresh, {
      what: 'the image on the new base',
    });
  });

  it('is brought to apps only by whoever may build in its repository', async () => {
    await using shop = await createWorkshop();
    const rights = new Set<string>();
    const authorizer: Authorizer = { may: (_, action, repository) => rights.has(`${action} ${repository}`) };
    const authenticator: Authenticator = {
      required: true,
      identify: async () => ({ principal: { name: 'dev', anonymous: false }, authorizer }),
    };
    await using farm = await startFarm({ ...shop, authenticator, work: false });
    await pushBase(farm.registry, 1);

    const status = async (path: string): Promise<number> =>
      (await fetch(`${farm.url}/api/v1/base-images/nodejs/${path}`)).status;
    expect([await status('plan'), await status('waves')]).toEqual([403, 403]);
    expect((await post(farm, 'rebase')).status).toBe(403);
    rights.add('pull baseimages/nodejs');
    expect([await status('plan'), await status('waves'), await status('plan?channel=27')]).toEqual([
      200, 200, 404,
    ]);
    expect([(await post(farm, 'rebase')).status, (await post(farm, 'undo')).status]).toEqual([403, 403]);
    expect((await post(farm, 'changed')).status).toBe(403);
    rights.add('build baseimages/nodejs');
    expect([(await post(farm, 'rebase')).status, (await post(farm, 'undo')).status]).toEqual([202, 409]);
    expect((await post(farm, 'rebase', { app: ['a/app'] })).status).toBe(400);
  });

  it('is planned, brought to apps and undone at the terminal', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    const brickyard = async (...args: string[]) => {
      let stdout = '';
      let stderr = '';
      const code = await run(['base', ...args], {
        stdout: (text) => void (stdout += text),
        stderr: (text) => void (stderr += text),
        cwd: shop.path,
        env: { HOME: shop.path, BRICKYARD_SERVER: farm.url },
      });
      return { code, stdout, stderr };
    };
    await pushBase(farm.registry, 1);
    const unused = await brickyard('plan', 'nodejs');
    const work = await createWork(join(shop.path, 'work'));
    await pushApp(farm, work, 'a/app');
    const before = await image(farm, 'a/app', 'main');

    const unchanged = await brickyard('plan', 'nodejs');
    const idle = await brickyard('rebase', 'nodejs');
    const fresh = await pushBase(farm.registry, 2);
    const plan = await brickyard('plan', 'nodejs:26');
    const rebase = await brickyard('rebase', 'nodejs:26', '--app', 'a/app', '--canary-wait', '1m');
    const after = await image(farm, 'a/app', 'main');
    const undo = await brickyard('undo', 'nodejs', '--json');
    const waves = await brickyard('waves', 'nodejs');
    const nothing = await brickyard('undo', 'nodejs');
    const wrong = await brickyard('plan', 'Node');
    const missing = await brickyard('plan', 'node');

    expect(unused.stdout).toBe('no image that was built here stands on nodejs\n');
    expect(unchanged.stdout).toMatch(
      /1 image of 1 app in 1 team, all up to date; a change would take about 1 s/,
    );
    expect(idle).toMatchObject({ code: 0, stdout: 'every app on nodejs is up to date\n' });
    expect(plan.stdout).toContain(`baseimages/nodejs:26  ${fresh}\n`);
    expect(plan.stdout).toMatch(/1 behind; that takes about 1 s\n +a\/app {2}latest, main {2}rebase\n$/);
    expect(rebase.code).toBe(0);
    expect(rebase.stdout).toMatch(
      /^ {2}rebased {3}a\/app {2}latest, main\nbaseimages\/nodejs:26 {2}\S+ {2}1 rebased\n$/,
    );
    expect(after.base).toBe(fresh);
    expect(JSON.parse(undo.stdout)).toMatchObject({
      waves: [{ wave: { kind: 'undo', counts: { restored: 1 } } }],
    });
    expect((await image(farm, 'a/app', 'main')).digest).toBe(before.digest);
    expect(waves.stdout.split('\n').map((line) => line.split(/ {2,}/)[1])).toEqual([
      'undo',
      'rebase',
      undefined,
    ]);
    expect(nothing.stderr).toContain('there is no wave of nodejs that could be undone');
    expect([nothing.code, wrong.code, missing.code]).toEqual([1, 2, 1]);
    expect(missing.stderr).toContain('there is no base image "node" on this server');
  });
});
