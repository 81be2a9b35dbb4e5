import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { OciError } from '../../../../oci/errors.ts';
import { type Collector, createCollector } from '../../../../registry/collect/collector.ts';
import { verifyStore } from '../../../../registry/verify/verify-store.ts';
import { pushContent } from '../../../helpers/content.ts';
import { createMirrorFixture, type MirrorFixture } from './upstream.ts';

const repository = 'docker.io/team/app';

/** Everything that may go, goes at once. */
function collectorOf(fixture: MirrorFixture): Collector {
  return createCollector({
    store: fixture.store,
    probe: async () => ({ collectionSafe: true, reasons: [] }),
    holder: 'test',
    log: { info: () => {}, warn: () => {} },
    intervalMs: 1000,
    fullIntervalMs: 0,
    graceMs: 0,
    rate: 0,
    untagged: { olderThanMs: 0, appliesTo: () => true },
  });
}

/** Condemning, waiting and deleting are turns of their own. */
async function collectAll(collector: Collector): Promise<void> {
  for (let run = 0; run < 4; run += 1) await collector.run({ full: true });
}

async function push(fixture: MirrorFixture, layer: string) {
  const pushed = await pushContent(fixture.upstream, {
    'team/app': { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { v1: 'image' } },
  });
  const { blobs, manifests } = pushed['team/app'];
  return {
    layer: blobs.layer.digest,
    config: JSON.parse(manifests.image.bytes.toString()).config.digest,
    ...manifests,
  };
}

describe('collection of mirrored repositories', () => {
  it('takes no blob of an image, be it pulled before the manifest was or long after', async () => {
    await using fixture = await createMirrorFixture();
    const collector = collectorOf(fixture);
    const { layer, config, image } = await push(fixture, 'layer 1'.repeat(5000));

    await fixture.registry.getManifest(repository, 'v1');
    await collectAll(collector);
    for (const digest of [layer, config]) {
      await buffer((await fixture.registry.getBlob(repository, digest)).body);
      await collectAll(collector);
    }
    fixture.failure = new OciError('UNAVAILABLE');

    expect((await fixture.registry.getManifest(repository, image.digest)).descriptor.digest).toBe(
      image.digest,
    );
    for (const digest of [layer, config]) await fixture.registry.resolveBlob(repository, digest);
    const { severities } = await verifyStore({ store: fixture.store, onFinding: () => {} });
    expect(severities.damage).toBe(0);
    await collector.close();
  });

  it('takes what a moved tag left behind, which is fetched again when somebody asks', async () => {
    await using fixture = await createMirrorFixture({ revalidateMs: 0 });
    const collector = collectorOf(fixture);
    const first = await push(fixture, 'layer 1'.repeat(5000));
    await fixture.registry.getManifest(repository, 'v1');
    await buffer((await fixture.registry.getBlob(repository, first.layer)).body);
    const second = await push(fixture, 'layer 2'.repeat(5000));

    expect((await fixture.registry.getManifest(repository, 'v1')).descriptor.digest).toBe(
      second.image.digest,
    );
    await collectAll(collector);

    await expect(fixture.stored.getManifest(repository, first.image.digest)).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
    await expect(fixture.stored.getBlob(repository, first.layer)).rejects.toMatchObject({
      code: 'BLOB_UNKNOWN',
    });
    const again = await fixture.registry.getManifest(repository, first.image.digest);
    expect(again.bytes.equals(first.image.bytes)).toBe(true);
    await buffer((await fixture.registry.getBlob(repository, first.layer)).body);
    await collector.close();
  });
});
