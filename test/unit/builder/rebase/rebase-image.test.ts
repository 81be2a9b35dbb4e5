import { describe, expect, it } from 'vitest';
import { createRebaser } from '../../../../builder/rebase/rebase-image.ts';
import type { Digest } from '../../../../oci/digest.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { diffIdOf, pushIndex, pushStackedImage, type StackedImage } from '../../../helpers/stacked-image.ts';

const bases = 'baseimages/jdk';
const contract = { 'org.brickyard.base.abi': 'debian12/jdk17', 'org.brickyard.base.rebase': 'compatible' };

interface Setup {
  readonly registry: Registry;
  readonly old: Digest;
  readonly fresh: Digest;
}

async function setup(
  changes: { old?: Partial<StackedImage>; fresh?: Partial<StackedImage> } = {},
): Promise<Setup> {
  const registry = createMemoryRegistry();
  const old = await pushStackedImage(registry, bases, {
    layers: ['debian 1', 'jdk 1'],
    config: { Env: ['PATH=/bin', 'JAVA_HOME=/jdk1'] },
    annotations: contract,
    ...changes.old,
  });
  const fresh = await pushStackedImage(registry, bases, {
    layers: ['debian 2', 'jdk 2', 'certificates'],
    config: { Env: ['PATH=/bin', 'JAVA_HOME=/jdk2'] },
    annotations: contract,
    ...changes.fresh,
  });
  return { registry, old, fresh };
}

function app(old: Digest, changes: Partial<StackedImage> = {}): StackedImage {
  return {
    layers: ['debian 1', 'jdk 1', 'app'],
    config: { Env: ['PATH=/bin', 'JAVA_HOME=/jdk1', 'A=1'], Entrypoint: ['/run'] },
    annotations: {
      'org.opencontainers.image.base.name': `${bases}:17`,
      'org.opencontainers.image.base.digest': old,
      'org.brickyard.base.layers': '2',
      'org.opencontainers.image.revision': 'abc',
    },
    ...changes,
  };
}

async function rebase({ registry, fresh }: Setup, digest: Digest) {
  return createRebaser(registry).rebase({
    repository: 'team/app',
    digest,
    base: { repository: bases, digest: fresh },
  });
}

async function read(registry: Registry, digest: string, repository = 'team/app') {
  const { bytes } = await registry.getManifest(repository, digest);
  const manifest = JSON.parse(bytes.toString());
  const parts: Buffer[] = [];
  if (manifest.config !== undefined) {
    for await (const part of (await registry.getBlob(repository, manifest.config.digest)).body) {
      parts.push(part as Buffer);
    }
  }
  return { manifest, config: parts.length === 0 ? undefined : JSON.parse(Buffer.concat(parts).toString()) };
}

describe('rebaseImage', () => {
  it('puts the same app layers on the layers of the new base, and says so in config and annotations', async () => {
    const on = await setup();
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));

    const rebased = await rebase(on, image);

    const { manifest, config } = await read(on.registry, rebased.digest);
    expect(manifest.layers.map((layer: { digest: string }) => layer.digest)).toEqual(
      ['debian 2', 'jdk 2', 'certificates', 'app'].map((layer) => digestOf(layer)),
    );
    expect(config.rootfs.diff_ids).toEqual(['debian 2', 'jdk 2', 'certificates', 'app'].map(diffIdOf));
    expect(config.history.map((entry: { created_by: string }) => entry.created_by)).toEqual([
      'debian 2',
      'jdk 2',
      'certificates',
      'app',
    ]);
    expect(config.config).toEqual({ Env: ['PATH=/bin', 'JAVA_HOME=/jdk2', 'A=1'], Entrypoint: ['/run'] });
    expect(manifest.annotations).toEqual({
      'org.opencontainers.image.base.name': `${bases}:17`,
      'org.opencontainers.image.base.digest': on.fresh,
      'org.brickyard.base.layers': '3',
      'org.opencontainers.image.revision': 'abc',
    });
    expect(rebased).toMatchObject({ changed: true, copiedBytes: 0, mountedBytes: 25 });
  });

  it('reads and writes no blob but configs', async () => {
    const on = await setup();
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));
    const moved: string[] = [];
    const registry: Registry = {
      ...on.registry,
      async getBlob(repository, digest, range) {
        const content = await on.registry.getBlob(repository, digest, range);
        moved.push(`get ${content.size > 60 ? 'config' : digest}`);
        return content;
      },
      async putBlob(repository, digest, body, options) {
        moved.push(`put ${Buffer.isBuffer(body) && body.length > 60 ? 'config' : digest}`);
        return on.registry.putBlob(repository, digest, body, options);
      },
    };

    await rebase({ ...on, registry }, image);

    expect(moved).toEqual(['get config', 'get config', 'get config', 'put config']);
  });

  it('mounts only the layers that do not lie under the app already', async () => {
    const on = await setup({ fresh: { layers: ['debian 1', 'jdk 2'] } });
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));
    const mounts: string[] = [];
    const mountBlob: Registry['mountBlob'] = (repository, digest, from) => {
      mounts.push(`${digest} of ${from}`);
      return on.registry.mountBlob(repository, digest, from);
    };

    await rebase({ ...on, registry: { ...on.registry, mountBlob } }, image);

    expect(mounts).toEqual([`${digestOf('jdk 2')} of ${bases}`]);
  });

  it('copies a layer where the registry cannot mount', async () => {
    const on = await setup({ fresh: { layers: ['debian 1', 'jdk 2'] } });
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));

    const rebased = await rebase(
      { ...on, registry: { ...on.registry, mountBlob: async () => false } },
      image,
    );

    expect(rebased.copiedBytes).toBe(5);
    expect((await on.registry.resolveBlob('team/app', digestOf('jdk 2'))).size).toBe(5);
  });

  it('gives the same digest again, and does nothing to an image that stands on the new base', async () => {
    const on = await setup();
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));

    const first = await rebase(on, image);
    const second = await rebase(on, image);
    const third = await rebase(on, first.digest);

    expect(second).toMatchObject({ digest: first.digest, changed: true });
    expect(third).toEqual({
      digest: first.digest,
      mediaType: mediaTypes.ociManifest,
      changed: false,
      mountedBytes: 0,
      copiedBytes: 0,
    });
  });

  it('names the result by a tag, which stays where it is when it names something else', async () => {
    const on = await setup();
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));
    const other = await pushStackedImage(on.registry, 'team/app', { layers: ['other'] }, ['abc-2']);
    const named = (fixedTag: string) =>
      createRebaser(on.registry).rebase({
        repository: 'team/app',
        digest: image,
        base: { repository: bases, digest: on.fresh },
        fixedTag,
      });

    const { digest } = await named('abc-1');
    await named('abc-2');

    expect((await on.registry.resolveManifest('team/app', 'abc-1')).digest).toBe(digest);
    expect((await on.registry.resolveManifest('team/app', 'abc-2')).digest).toBe(other);
  });

  it('makes Docker and OCI media types all OCI, as podman refuses a mixture', async () => {
    const on = await setup({ fresh: { docker: true } });
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old, { docker: true }));

    const { manifest } = await read(on.registry, (await rebase(on, image)).digest);

    expect(manifest.mediaType).toBe(mediaTypes.ociManifest);
    expect(manifest.config.mediaType).toBe(mediaTypes.ociConfig);
    expect(new Set(manifest.layers.map((layer: { mediaType: string }) => layer.mediaType))).toEqual(
      new Set([mediaTypes.ociLayerGzip]),
    );
  });

  it('counts entries of the history that have no layer, and cuts behind those of the base', async () => {
    const empty = (created_by: string) => ({ created_by, empty_layer: true });
    const layer = (created_by: string) => ({ created_by });
    const on = await setup({
      old: { history: [empty('ARG'), layer('d1'), layer('j1'), empty('CMD base')] },
      fresh: { history: [layer('d2'), layer('j2'), layer('c'), empty('CMD new')] },
    });
    const image = await pushStackedImage(
      on.registry,
      'team/app',
      app(on.old, {
        history: [
          empty('ARG'),
          layer('d1'),
          layer('j1'),
          empty('CMD base'),
          empty('ENV A'),
          layer('app'),
          empty('X'),
        ],
      }),
    );

    const { config } = await read(on.registry, (await rebase(on, image)).digest);

    expect(config.history).toEqual([
      layer('d2'),
      layer('j2'),
      layer('c'),
      empty('CMD new'),
      empty('ENV A'),
      layer('app'),
      empty('X'),
    ]);
  });

  it.each([
    ['the app has none', { history: undefined }, {}],
    ['the new base has none', {}, { history: undefined }],
    ['the app’s does not count its layers', { history: [{ created_by: 'one for all' }] }, {}],
  ])('leaves the history out when %s', async (_, ofApp, ofBase) => {
    const on = await setup({ fresh: ofBase });
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old, ofApp));

    const { config } = await read(on.registry, (await rebase(on, image)).digest);

    expect(config.history).toBeUndefined();
    expect(config.rootfs.diff_ids).toHaveLength(4);
  });

  it('keeps fields of the config that it does not know, and merges those of the container', async () => {
    const on = await setup({
      old: { config: { Shell: ['/bin/sh'] } },
      fresh: { config: { Shell: ['/bin/bash'] } },
    });
    const image = await pushStackedImage(
      on.registry,
      'team/app',
      app(on.old, {
        config: { Shell: ['/bin/sh'], Healthcheck: { Test: ['CMD', 'x'] } },
        document: { author: 'someone', 'os.features': ['f'] },
      }),
    );

    const { config } = await read(on.registry, (await rebase(on, image)).digest);

    expect(config).toMatchObject({ author: 'someone', 'os.features': ['f'] });
    expect(config.config).toEqual({ Shell: ['/bin/bash'], Healthcheck: { Test: ['CMD', 'x'] } });
  });
});

describe('an index', () => {
  const amd64 = { os: 'linux', architecture: 'amd64' };
  const arm64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };

  async function both(registry: Registry, repository: string, image: StackedImage): Promise<Digest> {
    const digests = await Promise.all(
      [amd64, arm64].map(async (platform) => ({
        digest: await pushStackedImage(registry, repository, { ...image, platform }),
        platform,
      })),
    );
    return pushIndex(registry, repository, digests, {
      annotations:
        image.annotations?.['org.opencontainers.image.base.digest'] === undefined ? {} : image.annotations,
    });
  }

  it('is rebased image by image, each onto its platform of the new base', async () => {
    const registry = createMemoryRegistry();
    const old = await both(registry, bases, { layers: ['b 1'], annotations: contract });
    const fresh = await both(registry, bases, { layers: ['b 2'], annotations: contract });
    const image = await both(
      registry,
      'team/app',
      app(old, {
        layers: ['b 1', 'app'],
        annotations: { ...app(old).annotations, 'org.brickyard.base.layers': '1' },
      }),
    );

    const rebased = await rebase({ registry, old, fresh }, image);

    const { manifest } = await read(registry, rebased.digest);
    expect(rebased.mediaType).toBe(mediaTypes.ociIndex);
    expect(manifest.annotations['org.opencontainers.image.base.digest']).toBe(fresh);
    expect(manifest.manifests.map((child: { platform: object }) => child.platform)).toEqual([amd64, arm64]);
    for (const child of manifest.manifests) {
      const { manifest: own, config } = await read(registry, child.digest);
      expect(own.layers.map((layer: { digest: string }) => layer.digest)).toEqual(
        ['b 2', 'app'].map((l) => digestOf(l)),
      );
      expect(config.architecture).toBe(child.platform.architecture);
    }
  });

  it('is refused as a whole when the new base lacks a platform', async () => {
    const registry = createMemoryRegistry();
    const old = await both(registry, bases, { layers: ['b 1'], annotations: contract });
    const fresh = await pushStackedImage(registry, bases, { layers: ['b 2'], annotations: contract });
    const image = await both(registry, 'team/app', app(old, { layers: ['b 1', 'app'] }));

    await expect(rebase({ registry, old, fresh }, image)).rejects.toMatchObject({
      code: 'platform',
      message: 'the image is for linux/arm64, and the new base has linux/amd64',
    });
  });

  it('below a single image: the base’s image of its platform is taken', async () => {
    const registry = createMemoryRegistry();
    const old = await both(registry, bases, { layers: ['b 1'], annotations: contract });
    const fresh = await both(registry, bases, { layers: ['b 2'], annotations: contract });
    const annotations = { ...app(old).annotations, 'org.brickyard.base.layers': '1' };
    const image = await pushStackedImage(registry, 'team/app', {
      ...app(old),
      layers: ['b 1', 'app'],
      annotations,
      platform: { architecture: 'arm64' },
    });

    const { manifest, config } = await read(registry, (await rebase({ registry, old, fresh }, image)).digest);

    expect(manifest.layers[0].digest).toBe(digestOf('b 2'));
    expect(manifest.annotations['org.opencontainers.image.base.digest']).toBe(fresh);
    expect(config.architecture).toBe('arm64');
  });
});

describe('an image that cannot be rebased is left as it is (builder.md 6, row 33)', () => {
  type Case = [string, Parameters<typeof setup>[0], Partial<StackedImage>, string, RegExp];
  const cases: Case[] = [
    [
      'another architecture',
      { fresh: { platform: { architecture: 'arm64' } } },
      {},
      'platform',
      /linux\/amd64.*linux\/arm64/,
    ],
    [
      'another ABI',
      { fresh: { annotations: { ...contract, 'org.brickyard.base.abi': 'debian12/jdk21' } } },
      {},
      'contract',
      /from debian12\/jdk17 to debian12\/jdk21/,
    ],
    [
      'a base without contract',
      { fresh: { annotations: {} } },
      {},
      'contract',
      /the new base has no contract/,
    ],
    [
      'a contract that says nothing of rebase',
      { fresh: { annotations: { 'org.brickyard.base.abi': 'debian12/jdk17' } } },
      {},
      'never',
      /allows no rebase/,
    ],
    [
      'a promise of a later version',
      { fresh: { annotations: { ...contract, 'org.brickyard.base.rebase': 'sometimes' } } },
      {},
      'contract',
      /"sometimes"/,
    ],
    [
      'an image marked never',
      {},
      { annotations: { 'org.brickyard.base.rebase': 'never' } },
      'never',
      /must not be rebased/,
    ],
    [
      'an old base that is no prefix',
      {},
      { layers: ['debian 1', 'other', 'app'] },
      'prefix',
      /layer 2 of the image/,
    ],
    [
      'equal digests and other diffIDs',
      {},
      { diffIds: ['debian 1', 'x', 'app'].map(diffIdOf) },
      'prefix',
      /layer 2 of the image/,
    ],
    ['fewer layers than the base', {}, { layers: ['debian 1'] }, 'prefix', /layer 2 of the image/],
    [
      'a seam at another place',
      {},
      { annotations: { 'org.brickyard.base.layers': '1' } },
      'prefix',
      /has 1 layers, and its base has 2/,
    ],
    [
      'more layers than diffIDs',
      {},
      { diffIds: ['debian 1', 'jdk 1'].map(diffIdOf) },
      'content',
      /3 layers.*2 diffIDs/,
    ],
    ['a new base with fewer diffIDs', { fresh: { diffIds: [] } }, {}, 'content', /the new base is damaged/],
    [
      'a foreign layer in the new base',
      { fresh: { layerType: mediaTypes.dockerForeignLayer } },
      {},
      'content',
      /not kept here/,
    ],
    [
      'a foreign layer in the image',
      {},
      { layerType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' },
      'content',
      /not kept here/,
    ],
    ['a layer of an unknown type', {}, { layerType: 'application/x-thing' }, 'content', /unknown type/],
    ['an artifact', {}, { manifest: { artifactType: 'application/x-thing' } }, 'content', /an artifact/],
    [
      'a base that is gone',
      {},
      { annotations: { 'org.opencontainers.image.base.digest': digestOf('gone') } },
      'base',
      /its base .* is not there any more/,
    ],
    [
      'no base digest',
      {},
      { annotations: { 'org.opencontainers.image.base.digest': '' } },
      'base',
      /does not say/,
    ],
    [
      'a tag where the base digest should be',
      {},
      { annotations: { 'org.opencontainers.image.base.digest': 'latest' } },
      'base',
      /does not say/,
    ],
  ];
  it.each(cases)('%s', async (_, ofBases, ofApp, code, reason) => {
    const on = await setup(ofBases);
    const whole = app(on.old, ofApp);
    const image = await pushStackedImage(
      on.registry,
      'team/app',
      {
        ...whole,
        annotations: { ...app(on.old).annotations, ...ofApp.annotations },
      },
      ['main'],
    );
    const writes: string[] = [];
    const registry: Registry = {
      ...on.registry,
      mountBlob: async (...args) => (writes.push('mount'), on.registry.mountBlob(...args)),
      putBlob: async (...args) => (writes.push('blob'), on.registry.putBlob(...args)),
      putManifest: async (...args) => (writes.push('manifest'), on.registry.putManifest(...args)),
    };

    await expect(rebase({ ...on, registry }, image)).rejects.toMatchObject({
      name: 'RebaseRefused',
      code,
      message: expect.stringMatching(reason),
    });

    expect(writes).toEqual([]);
    expect((await on.registry.resolveManifest('team/app', 'main')).digest).toBe(image);
  });

  it.each([
    ['26.10.0', '26.10.3', undefined],
    ['26.10.0', '26.11.0', 'contract'],
    ['26.10.0', '27.10.0', 'contract'],
  ])('within one minor version: from %s to %s', async (before, after, code) => {
    const minor = (version: string) => ({
      annotations: {
        ...contract,
        'org.brickyard.base.rebase': 'minor',
        'org.opencontainers.image.version': version,
      },
    });
    const on = await setup({ old: minor(before), fresh: minor(after) });
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));

    const refusal = await createRebaser(on.registry).check({
      repository: 'team/app',
      digest: image,
      base: { repository: bases, digest: on.fresh },
    });

    expect(refusal?.code).toBe(code);
  });

  it('"could not look" is no refusal', async () => {
    const on = await setup();
    const image = await pushStackedImage(on.registry, 'team/app', app(on.old));
    const getBlob = async (): Promise<never> => {
      throw new OciError('UNAVAILABLE');
    };

    await expect(rebase({ ...on, registry: { ...on.registry, getBlob } }, image)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });
});
