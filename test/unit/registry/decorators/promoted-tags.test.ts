import { beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { promotedTags } from '../../../../registry/decorators/promoted-tags.ts';
import { createPromotionPolicy } from '../../../../registry/promote/promotion-policy.ts';
import { type PushedManifest, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';

const { ociManifest } = mediaTypes;
const policy = createPromotionPolicy([{ repositories: 'team/**', tags: 'prod*', require: 'tests' }]);
let inner: Registry;
let registry: Registry;
let one: PushedManifest;
let two: PushedManifest;

beforeEach(async () => {
  inner = createMemoryRegistry();
  registry = promotedTags(inner, { policy, mayRemove: () => false });
  const known = await pushContent(inner, {
    'team/app': {
      manifests: { one: {}, two: { annotations: { n: '2' } } },
      tags: { prod: 'one', rc: 'two' },
    },
  });
  one = known['team/app'].manifests['one'] as PushedManifest;
  two = known['team/app'].manifests['two'] as PushedManifest;
});

describe('a tag that takes tested images only', () => {
  it('is neither set nor moved by a push, which is told what to do', async () => {
    for (const tag of ['prod', 'prod-eu']) {
      const push = registry.putManifest('team/app', tag, two.bytes, ociManifest);
      await expect(push).rejects.toMatchObject({
        code: 'DENIED',
        message: expect.stringContaining(
          `"brickyard images promote team/app@${two.digest} ${tag}"`,
        ) as string,
      });
    }
    await expectCode('DENIED', () =>
      registry.putManifest('team/app', two.digest, two.bytes, ociManifest, { tags: ['x', 'prod'] }),
    );
    expect((await inner.resolveManifest('team/app', 'prod')).digest).toBe(one.digest);
    await expectCode('MANIFEST_UNKNOWN', () => inner.resolveManifest('team/app', 'x'));
  });

  it('may be pushed once more with what it has, and other tags are free', async () => {
    await registry.putManifest('team/app', 'prod', one.bytes, ociManifest);
    await registry.putManifest('team/app', 'rc', one.bytes, ociManifest);
    await registry.putManifest('team/app', two.digest, two.bytes, ociManifest);
  });

  it('is not taken back by a push that saw it before a promotion', async () => {
    const late: Registry = {
      ...inner,
      async resolveManifest(...args) {
        const seen = await inner.resolveManifest(...args);
        await inner.putManifest('team/app', 'prod', two.bytes, ociManifest);
        return seen;
      },
    };
    const racing = promotedTags(late, { policy, mayRemove: () => false });

    await expectCode('DENIED', () => racing.putManifest('team/app', 'prod', one.bytes, ociManifest));

    expect((await inner.resolveManifest('team/app', 'prod')).digest).toBe(two.digest);
  });

  it('is removed, with its image, only by who may', async () => {
    await expectCode('DENIED', () => registry.deleteTag('team/app', 'prod'));
    await expectCode('DENIED', () => registry.deleteManifest('team/app', one.digest));
    await registry.deleteManifest('team/app', two.digest);
    const trusted = promotedTags(inner, { policy, mayRemove: () => true });

    await trusted.deleteTag('team/app', 'prod');
    await trusted.deleteManifest('team/app', one.digest);
  });
});
