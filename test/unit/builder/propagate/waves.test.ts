import { afterEach, describe, expect, it } from 'vitest';
import type { Propagation } from '../../../../builder/propagate/propagation.ts';
import type { PropagationSettings } from '../../../../builder/propagate/settings.ts';
import type { Wave, WaveImage } from '../../../../builder/propagate/wave.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { JobWorker } from '../../../../core/queue/job-queue.ts';
import type { Digest } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { waitFor } from '../../../helpers/process.ts';
import { pushStackedImage } from '../../../helpers/stacked-image.ts';
import { contract, openPropagation, pushApp, pushBase } from '../../../helpers/waves.ts';

const workers: Pick<JobWorker, 'close'>[] = [];
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close();
});

/** A base image of one generation and apps on it; waves run, by a clock that the test sets. */
async function setup(
  apps: readonly string[],
  settings: Partial<PropagationSettings> = {},
  between?: (registry: Registry) => Registry,
) {
  const store = createMemoryStore();
  const clock = { now: Date.parse('2026-11-02T12:00:00Z') };
  const { propagation, registry } = openPropagation(store, settings, between, () => clock.now);
  const base = await pushBase(registry, 1);
  const before = new Map<string, Digest>();
  for (const app of apps) before.set(app, await pushApp(store, registry, app, base));
  workers.push(propagation.work());
  return { store, propagation, registry, base, before, clock };
}

async function ended(propagation: Propagation, [wave]: readonly Wave[]) {
  const id = wave?.id ?? '';
  let detail: { wave: Wave; images: readonly WaveImage[] } | undefined;
  await waitFor(
    async () => {
      detail = await propagation.wave('jdk', id);
      return detail?.wave.finishedAt !== undefined;
    },
    { what: 'the end of the wave' },
  );
  if (detail === undefined) throw new Error('no wave');
  const outcomes = Object.fromEntries(detail.images.map(({ repository, outcome }) => [repository, outcome]));
  return { ...detail, outcomes };
}

const start = (propagation: Propagation, options: object = {}) =>
  propagation.start({ name: 'jdk', by: 'test', ...options });

describe('a wave', () => {
  it('leaves excluded repositories alone, unless it names them', async () => {
    const { propagation, registry } = await setup(['a/app', 'legacy/app'], { exclude: ['legacy/**'] });
    await pushBase(registry, 2);

    const all = await ended(propagation, await start(propagation));
    const named = await ended(propagation, await start(propagation, { apps: ['legacy/app'] }));

    expect(all.outcomes).toEqual({ 'a/app': 'rebased', 'legacy/app': 'excluded' });
    expect(named.outcomes).toEqual({ 'legacy/app': 'rebased' });
    expect(await start(propagation)).toEqual([]);
    await expect(start(propagation, { apps: ['other/app'] })).rejects.toThrow(
      'other/app has no image that was built here on baseimages/jdk:17',
    );
  });

  it('that starts by itself leaves what is outside of its window to the one that starts when it opens', async () => {
    const { propagation, registry, clock } = await setup(['a/app', 'shop/app'], {
      mode: 'auto',
      windows: [{ repositories: ['shop/**'], from: '22:00', to: '04:00' }],
    });
    await propagation.changed('jdk', 'test');
    const fresh = await pushBase(registry, 2);

    const day = await ended(propagation, await propagation.changed('jdk', 'test'));
    clock.now = Date.parse('2026-11-02T21:59:00Z');
    const early = await propagation.reconcile();
    clock.now = Date.parse('2026-11-02T22:00:00Z');
    const night = await ended(propagation, await propagation.reconcile());

    expect(day.outcomes).toEqual({ 'a/app': 'rebased', 'shop/app': 'deferred' });
    expect(early).toEqual([]);
    expect(night.outcomes).toEqual({ 'shop/app': 'rebased' });
    expect((await registry.getManifest('shop/app', 'main')).bytes.toString()).toContain(fresh);
    clock.now = Date.parse('2026-11-03T22:00:00Z');
    expect(await propagation.reconcile()).toEqual([]);
  });

  it('of a person does not wait for a window', async () => {
    const { propagation, registry } = await setup(['shop/app'], {
      windows: [{ repositories: ['**'], from: '22:00', to: '04:00' }],
    });
    await pushBase(registry, 2);

    expect((await ended(propagation, await start(propagation))).outcomes).toEqual({ 'shop/app': 'rebased' });
  });

  it('waits after its first apps, is not begun twice, and undo then stops it there', async () => {
    const { propagation, registry, before } = await setup(['a/app', 'b/app', 'c/app']);
    await pushBase(registry, 2);
    const waves = await start(propagation, { canary: 1, canaryWait: 3600 });
    expect((await start(propagation)).map(({ id }) => id)).toEqual(waves.map(({ id }) => id));
    const first = async () => (await propagation.wave('jdk', waves[0]?.id ?? ''))?.images[0];
    await waitFor(async () => (await first())?.outcome === 'rebased', { what: 'the first app' });

    const undo = await ended(propagation, await propagation.undo({ name: 'jdk', by: 'test' }));
    const { wave, outcomes } = await ended(propagation, waves);

    expect(wave).toMatchObject({ state: 'cancelled', error: 'it is undone' });
    expect(outcomes).toEqual({ 'a/app': 'rebased', 'b/app': undefined, 'c/app': undefined });
    expect(undo.outcomes).toEqual({ 'a/app': 'restored' });
    expect((await registry.resolveManifest('a/app', 'main')).digest).toBe(before.get('a/app'));
  });

  it('writes down why an image can neither be rebased nor built again, and goes on with the others', async () => {
    const { store, propagation, registry, base } = await setup(['a/app']);
    await pushApp(store, registry, 'b/app', base, { annotations: { 'org.brickyard.base.rebase': 'never' } });
    await pushBase(registry, 2);

    const { wave, images } = await ended(propagation, await start(propagation));

    expect(wave).toMatchObject({ state: 'succeeded', counts: { rebased: 1, refused: 1 } });
    expect(images[1]).toMatchObject({
      outcome: 'refused',
      reason: 'the image says that it must not be rebased',
    });
  });

  it('takes a fault of one image for its own, and a store that does not answer for none', async () => {
    let faults: OciError[] = [];
    const { propagation, registry } = await setup(['a/app', 'b/app'], { concurrency: 1 }, (stored) => ({
      ...stored,
      async mountBlob(...args) {
        const fault = faults.shift();
        if (fault !== undefined) throw fault;
        return stored.mountBlob(...args);
      },
    }));
    await pushBase(registry, 2);
    faults = [new OciError('UNKNOWN', { message: 'broken' })];

    const failed = await ended(propagation, await start(propagation));
    faults = [new OciError('UNAVAILABLE')];
    const again = await ended(propagation, await start(propagation));

    expect(failed.outcomes).toEqual({ 'a/app': 'failed', 'b/app': 'rebased' });
    expect(failed.images[0]?.reason).toBe('broken');
    expect(again.wave).toMatchObject({ state: 'succeeded', attempts: 2 });
    expect(again.outcomes).toEqual({ 'a/app': 'rebased' });
  });

  it('is undone one by one, the newest first, and not where a later wave has the tag', async () => {
    const { propagation, registry, before } = await setup(['a/app']);
    const now = async () => (await registry.resolveManifest('a/app', 'main')).digest;
    await pushBase(registry, 2);
    const [first] = await start(propagation);
    await ended(propagation, first === undefined ? [] : [first]);
    const second = await now();
    await pushBase(registry, 3);
    await ended(propagation, await start(propagation));

    const wrong = await ended(
      propagation,
      await propagation.undo({ name: 'jdk', wave: first?.id, by: 'test' }),
    );
    const [third, undone] = [
      await now(),
      await ended(propagation, await propagation.undo({ name: 'jdk', by: 'test' })),
    ];

    expect(wrong.images).toEqual([]);
    expect([undone.outcomes, await now()]).toEqual([{ 'a/app': 'restored' }, second]);
    expect(third).not.toBe(second);
    expect(before.get('a/app')).not.toBe(second);
  });
});

describe('a plan', () => {
  it('counts the apps on base images that stand on it, and changes nothing', async () => {
    const { store, propagation, registry } = await setup(['a/app']);
    const debian = await pushStackedImage(
      registry,
      'baseimages/base',
      { layers: ['debian 1'], annotations: contract },
      ['12'],
    );
    await pushBase(registry, 2, {
      annotations: {
        ...contract,
        'org.opencontainers.image.base.name': 'baseimages/base:12',
        'org.opencontainers.image.base.digest': debian,
        'org.brickyard.base.deprecation': '{"level":"warn"}',
      },
    });
    const keys = (await store.list({ prefix: '' })).objects.map(({ key }) => key);

    const { channels } = await propagation.plan('base');

    expect(channels).toMatchObject([
      { repository: 'baseimages/base', channel: '12', derived: false, images: [] },
      {
        repository: 'baseimages/jdk',
        channel: '17',
        derived: true,
        deprecation: '{"level":"warn"}',
        images: [{ current: false, action: 'rebase', descendant: { repository: 'a/app' } }],
      },
    ]);
    expect((await store.list({ prefix: '' })).objects.map(({ key }) => key)).toEqual(keys);
    await expect(propagation.plan('jdk', '18')).rejects.toThrow('there is no base image "jdk:18"');
  });

  it('says of apps that are up to date what a change would mean', async () => {
    const { propagation } = await setup(['a/app']);

    const { channels } = await propagation.plan('jdk', '17');

    expect(channels[0]?.images).toMatchObject([{ current: true, action: 'rebase' }]);
  });
});
