import { buffer } from 'node:stream/consumers';
import { describe, expect, it, vi } from 'vitest';
import { isDigest } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { pushContent } from '../../../helpers/content.ts';
import { createMirrorFixture, type MirrorFixture, refusal } from './upstream.ts';

const minute = 60_000;
const hub = 'docker.io/nginx';

async function pushImage(fixture: MirrorFixture, layer = 'layer 1', tag = 'latest') {
  const content = { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { [tag]: 'image' } };
  return (await pushContent(fixture.upstream, { 'library/nginx': content }))['library/nginx'];
}

/** As a client does: the manifest by its tag, then every blob. */
async function pull(registry: Registry, repository = hub, reference = 'latest'): Promise<string> {
  const { bytes, descriptor } = await registry.getManifest(repository, reference);
  const { config, layers } = JSON.parse(bytes.toString()) as Record<string, never> & {
    config: { digest: string };
    layers: { digest: string }[];
  };
  for (const { digest } of [config, ...layers]) {
    if (isDigest(digest)) await buffer((await registry.getBlob(repository, digest)).body);
  }
  return descriptor.digest;
}

describe('a mirrored manifest', () => {
  it('comes from the upstream once, under the name that the upstream knows, and is stored', async () => {
    await using fixture = await createMirrorFixture();
    const pushed = await pushImage(fixture);

    expect(await pull(fixture.registry)).toBe(pushed.manifests.image.digest);
    expect(await pull(fixture.registry)).toBe(pushed.manifests.image.digest);

    expect(fixture.calls).toEqual([
      'resolveManifest library/nginx',
      'getManifest library/nginx',
      'getBlob library/nginx',
      'getBlob library/nginx',
    ]);
    expect(await pull(fixture.stored)).toBe(pushed.manifests.image.digest);
  });

  it('is asked for once, however many want it at the same time', async () => {
    await using fixture = await createMirrorFixture();
    await pushImage(fixture);

    await Promise.all(Array.from({ length: 20 }, () => fixture.registry.getManifest(hub, 'latest')));

    expect(fixture.calls).toHaveLength(2);
  });

  it('by digest is never asked for again, nor is what the upstream does not have, for a while', async () => {
    await using fixture = await createMirrorFixture();
    const { manifests } = await pushImage(fixture);
    await pull(fixture.registry, hub, manifests.image.digest);
    const before = fixture.calls.length;

    await fixture.registry.getManifest(hub, manifests.image.digest);
    fixture.now += 60 * minute;
    await fixture.registry.getManifest(hub, manifests.image.digest);
    expect(fixture.calls).toHaveLength(before);

    for (let times = 0; times < 3; times += 1) {
      await expect(fixture.registry.getManifest(hub, 'nothing')).rejects.toMatchObject({
        code: 'MANIFEST_UNKNOWN',
      });
    }
    expect(fixture.calls).toHaveLength(before + 1);
    fixture.now += minute;
    await expect(fixture.registry.resolveManifest(hub, 'nothing')).rejects.toThrow();
    expect(fixture.calls).toHaveLength(before + 2);
  });

  it('follows its tag with one HEAD when the time has come', async () => {
    await using fixture = await createMirrorFixture();
    const first = await pushImage(fixture);
    await pull(fixture.registry);
    const second = await pushImage(fixture, 'layer 2');
    expect((await fixture.registry.resolveManifest(hub, 'latest')).digest).toBe(first.manifests.image.digest);

    fixture.now += 5 * minute;
    fixture.calls.length = 0;
    expect(await pull(fixture.registry)).toBe(second.manifests.image.digest);
    fixture.now += 5 * minute;
    expect(await pull(fixture.registry)).toBe(second.manifests.image.digest);

    expect(fixture.calls.filter((call) => call.includes('Manifest'))).toEqual([
      'resolveManifest library/nginx',
      'getManifest library/nginx',
      'resolveManifest library/nginx',
    ]);
  });

  it.each([
    ['does not answer', new OciError('UNAVAILABLE')],
    ['answers 500', refusal(500, 'UNAVAILABLE')],
    ['is tired of us', refusal(429, 'TOOMANYREQUESTS', 60)],
  ])('is served with a warning when the upstream %s', async (_, failure) => {
    await using fixture = await createMirrorFixture();
    const { manifests } = await pushImage(fixture);
    await pull(fixture.registry);
    fixture.now += 5 * minute;
    fixture.failure = failure;
    fixture.calls.length = 0;

    for (let times = 0; times < 3; times += 1) {
      const { descriptor, warning } = await fixture.registry.getManifest(hub, 'latest');
      expect(descriptor.digest).toBe(manifests.image.digest);
      expect(warning).toBe('not compared with hub.test, which does not answer');
    }
    expect(await pull(fixture.registry)).toBe(manifests.image.digest);

    expect(fixture.calls).toHaveLength(1);
    expect(fixture.warnings).toEqual(['the upstream of a mirror failed']);
  });

  it('is not served without its upstream while a blob is missing', async () => {
    await using fixture = await createMirrorFixture();
    const { manifests, blobs } = await pushImage(fixture);
    await fixture.registry.getManifest(hub, 'latest');
    fixture.now += 5 * minute;
    fixture.failure = new OciError('UNAVAILABLE');

    await expect(fixture.registry.getManifest(hub, 'latest')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: 'the upstream hub.test does not answer as it should',
    });
    await expect(fixture.registry.getManifest(hub, manifests.image.digest)).rejects.toThrow();
    await expect(fixture.registry.getBlob(hub, blobs.layer.digest)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });

    fixture.failure = undefined;
    fixture.now += minute;
    expect(await pull(fixture.registry)).toBe(manifests.image.digest);
  });

  it('is not waited for long when something is stored', async () => {
    await using fixture = await createMirrorFixture({ patienceMs: 5 });
    const { manifests } = await pushImage(fixture);
    await pull(fixture.registry);
    fixture.now += 5 * minute;
    const asked = Promise.withResolvers<void>();
    fixture.hold = asked.promise;

    const { descriptor, warning } = await fixture.registry.getManifest(hub, 'latest');

    expect(descriptor.digest).toBe(manifests.image.digest);
    expect(warning).toBeDefined();
    // One waited, and the next ones need not, for this tag or another one.
    fixture.calls.length = 0;
    expect((await fixture.registry.getManifest(hub, 'latest')).warning).toBeDefined();
    expect(fixture.calls).toEqual([]);
    asked.resolve();
    await vi.waitFor(async () => {
      expect((await fixture.registry.getManifest(hub, 'latest')).warning).toBeUndefined();
    });
  });

  it('leaves an upstream alone for as long as it asks to be', async () => {
    await using fixture = await createMirrorFixture();
    const { manifests } = await pushImage(fixture);
    fixture.failure = refusal(429, 'TOOMANYREQUESTS', 120);
    await expect(fixture.registry.getManifest(hub, 'latest')).rejects.toMatchObject({
      code: 'TOOMANYREQUESTS',
      retryAfter: 120,
    });
    fixture.failure = undefined;
    fixture.now += minute;

    await expect(fixture.registry.getManifest(hub, 'latest')).rejects.toMatchObject({ retryAfter: 60 });
    expect(fixture.calls).toHaveLength(1);

    fixture.now += minute;
    expect(await pull(fixture.registry)).toBe(manifests.image.digest);
  });

  it.each([401, 403])('%i from the upstream is DENIED, in our own words', async (status) => {
    await using fixture = await createMirrorFixture();
    fixture.failure = refusal(status, 'UNAUTHORIZED');

    await expect(fixture.registry.getManifest(hub, 'latest')).rejects.toMatchObject({
      code: 'DENIED',
      message: expect.not.stringContaining('secret words') as string,
    });
  });

  it.each([
    ['another type in its Content-Type', mediaTypes.ociIndex],
    ['a page', 'text/html'],
  ])('with %s is MANIFEST_INVALID and leaves nothing', async (_, mediaType) => {
    await using fixture = await createMirrorFixture();
    await pushImage(fixture);
    fixture.mediaType = mediaType;

    await expect(fixture.registry.getManifest(hub, 'latest')).rejects.toMatchObject({
      code: 'MANIFEST_INVALID',
    });
    await expect(fixture.stored.getManifest(hub, 'latest')).rejects.toMatchObject({ code: 'NAME_UNKNOWN' });
  });

  it('of an index is pulled platform by platform, and served without the upstream once one is there', async () => {
    await using fixture = await createMirrorFixture();
    const pushed = await pushContent(fixture.upstream, {
      'team/app': {
        blobs: { amd: 'amd', arm: 'arm' },
        manifests: {
          amd: { layers: ['amd'] },
          arm: { layers: ['arm'] },
          index: { manifests: ['amd', 'arm'] },
        },
        tags: { v1: 'index' },
      },
    });
    const { manifests } = pushed['team/app'];
    const repository = 'docker.io/team/app';
    await fixture.registry.getManifest(repository, 'v1');
    fixture.now += 5 * minute;
    fixture.failure = new OciError('UNAVAILABLE');
    await expect(fixture.registry.getManifest(repository, 'v1')).rejects.toThrow();

    fixture.failure = undefined;
    fixture.now += minute;
    await fixture.registry.getManifest(repository, 'v1');
    await pull(fixture.registry, repository, manifests.amd.digest);
    fixture.now += 5 * minute;
    fixture.failure = new OciError('UNAVAILABLE');

    expect((await fixture.registry.getManifest(repository, 'v1')).descriptor.digest).toBe(
      manifests.index.digest,
    );
    expect(await pull(fixture.registry, repository, manifests.amd.digest)).toBe(manifests.amd.digest);
    await expect(pull(fixture.registry, repository, manifests.arm.digest)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });
});
