import { describe, expect, it } from 'vitest';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { createFindOrigin } from '../../../../registry/mirror/mirror.ts';
import { pushContent } from '../../../helpers/content.ts';
import { createMirrorFixture } from '../mirror/upstream.ts';

const bytes = Buffer.from('x');
const digest: Digest = digestOf(bytes);

describe('mirrored', () => {
  it('leaves our own repositories to the registry, and asks nobody about them', async () => {
    await using fixture = await createMirrorFixture();
    const content = { blobs: { layer: 'x' }, manifests: { image: {} }, tags: { v1: 'image' } };
    await pushContent(fixture.registry, {
      'team/app': content,
      'docker.io': content,
      'docker.ious/a': content,
    });

    await fixture.registry.getManifest('team/app', 'v1');
    await expect(fixture.registry.getManifest('team/app', 'v2')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
    await fixture.registry.deleteTag('team/app', 'v1');

    expect(fixture.calls).toEqual([]);
  });

  it('takes no pushes and deletes under a prefix, and says why', async () => {
    await using fixture = await createMirrorFixture();
    const { registry } = fixture;
    const repository = 'docker.io/team/app';
    await fixture.stored.putBlob('team/app', digest, bytes);

    const refused = [
      registry.startUpload(repository),
      registry.uploadStatus(repository, 'x'),
      registry.cancelUpload(repository, 'x'),
      registry.putBlob(repository, digest, bytes),
      registry.mountBlob(repository, digest, 'team/app'),
      registry.putManifest(repository, 'v1', bytes, 'x'),
      registry.deleteBlob(repository, digest),
      registry.deleteManifest(repository, digest),
      registry.deleteTag(repository, 'v1'),
    ];

    for (const call of refused) {
      await expect(call).rejects.toMatchObject({
        code: 'DENIED',
        message: 'docker.io/ mirrors hub.test and takes no pushes or deletes; use another repository',
      });
    }
  });

  it('refuses what the lists leave out in every way of reading, stored or not', async () => {
    await using fixture = await createMirrorFixture({ allow: ['library/*'], deny: ['library/secret'] });
    const { registry } = fixture;
    const repository = 'docker.io/secret';
    await fixture.stored.putBlob(repository, digest, bytes);

    const refused = [
      registry.getBlob(repository, digest),
      registry.resolveBlob(repository, digest),
      registry.locateBlob?.(repository, digest),
      registry.getManifest(repository, 'v1'),
      registry.resolveManifest(repository, 'v1'),
      registry.listTags(repository, { limit: 10 }),
      registry.listReferrers(repository, digest, { limit: 10 }),
      registry.getManifest('docker.io/other/app', 'v1'),
    ];

    for (const call of refused) await expect(call).rejects.toMatchObject({ code: 'DENIED' });
    expect(fixture.calls).toEqual([]);
  });

  it('lists tags and referrers of the upstream, page by page, and what is stored when it is away', async () => {
    await using fixture = await createMirrorFixture();
    const pushed = await pushContent(fixture.upstream, {
      'library/nginx': {
        manifests: {
          a: {},
          b: { annotations: { n: 'b' } },
          signature: { subject: 'a', artifactType: 'x/y' },
        },
        tags: { v1: 'a', v2: 'b', v3: 'a' },
      },
    });
    const { a, signature } = pushed['library/nginx'].manifests;
    const { registry } = fixture;
    const hub = 'docker.io/nginx';
    await registry.getManifest(hub, 'v2');
    await registry.getManifest(hub, signature.digest);

    expect(await registry.listTags(hub, { limit: 2 })).toEqual({ entries: ['v1', 'v2'], next: 'v2' });
    expect(await registry.listTags(hub, { limit: 2, last: 'v2' })).toEqual({ entries: ['v3'] });
    expect((await registry.listReferrers(hub, a.digest, { limit: 9 })).entries).toHaveLength(1);
    expect((await registry.listRepositories({ limit: 9 })).entries).toEqual([hub]);
    await expect(registry.listTags('docker.io/none', { limit: 9 })).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    });

    fixture.failure = new OciError('UNAVAILABLE');
    expect(await registry.listTags(hub, { limit: 9 })).toEqual({ entries: ['v2'] });
    expect((await registry.listReferrers(hub, a.digest, { limit: 9 })).entries).toHaveLength(1);
  });
});

describe("a repository's origin", () => {
  const upstream = {} as never;
  const originOf = createFindOrigin([
    { prefix: 'docker.io', host: 'hub.test', library: true, upstream },
    { prefix: 'docker.io/corp', host: 'corp.test', upstream, allow: ['**'], deny: ['old/**'] },
  ]);

  it.each([
    ['docker.io/nginx', 'hub.test library/nginx'],
    ['docker.io/library/nginx', 'hub.test library/nginx'],
    ['docker.io/team/app', 'hub.test team/app'],
    ['docker.io/corp', 'hub.test library/corp'],
    ['docker.io/corp/app', 'corp.test app'],
    ['docker.io/corporate/app', 'hub.test corporate/app'],
    ['docker.io', 'our own'],
    ['docker.ious/a', 'our own'],
    ['team/docker.io/a', 'our own'],
  ])('of %s is %s', (repository, expected) => {
    const origin = originOf(repository);
    expect(origin === undefined ? 'our own' : `${origin.mirror.host} ${origin.name}`).toBe(expected);
  });

  it('is refused by the list of the longest prefix', () => {
    expect(() => originOf('docker.io/corp/old/app')).toThrow(expect.objectContaining({ code: 'DENIED' }));
  });
});
