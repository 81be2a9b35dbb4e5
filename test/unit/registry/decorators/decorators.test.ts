import { Readable } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Identity } from '../../../../core/auth/authenticator.ts';
import { type Action, anonymous } from '../../../../core/auth/authorizer.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { announcing, type RegistryChange } from '../../../../registry/decorators/announcing.ts';
import { authorized } from '../../../../registry/decorators/authorized.ts';
import { immutableTags } from '../../../../registry/decorators/immutable-tags.ts';
import { readOnly } from '../../../../registry/decorators/read-only.ts';
import { pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';

const blob = Buffer.from('blob');
const digest = digestOf(blob);
const tree = {
  blobs: { blob },
  manifests: { one: {}, two: { annotations: { a: 'b' } } },
  tags: { v1: 'one', latest: 'one' },
};
const { ociManifest } = mediaTypes;

let registry: Registry;
let one: { digest: typeof digest; bytes: Buffer };
let two: { digest: typeof digest; bytes: Buffer };

beforeEach(async () => {
  registry = createMemoryRegistry();
  const known = await pushContent(registry, { 'team/app': tree });
  ({ one, two } = known['team/app'].manifests);
});

/** Every method once, on `team/app`. */
function calls(on: Registry): Record<string, () => Promise<unknown>> {
  const body = () => Readable.from([blob]);
  return {
    getBlob: () => on.getBlob('team/app', digest),
    resolveBlob: () => on.resolveBlob('team/app', digest),
    getManifest: () => on.getManifest('team/app', 'v1'),
    resolveManifest: () => on.resolveManifest('team/app', 'v1'),
    listTags: () => on.listTags('team/app', { limit: 5 }),
    listReferrers: () => on.listReferrers('team/app', one.digest, { limit: 5 }),
    startUpload: () => on.startUpload('team/app'),
    uploadStatus: () => on.uploadStatus('team/app', 'x'),
    writeUpload: () => on.writeUpload('team/app', 'x', body()),
    finishUpload: () => on.finishUpload('team/app', 'x', digest, body()),
    cancelUpload: () => on.cancelUpload('team/app', 'x'),
    putBlob: () => on.putBlob('team/app', digest, blob),
    mountBlob: () => on.mountBlob('team/app', digest, 'team/app'),
    putManifest: () => on.putManifest('team/app', 'v2', one.bytes, ociManifest),
    deleteTag: () => on.deleteTag('team/app', 'v1'),
    deleteManifest: () => on.deleteManifest('team/app', one.digest),
    deleteBlob: () => on.deleteBlob('team/app', digest),
  };
}

const reads = ['getBlob', 'resolveBlob', 'getManifest', 'resolveManifest', 'listTags', 'listReferrers'];
const deletes = ['deleteTag', 'deleteManifest', 'deleteBlob'];

/** `rights`: `repository:action`. */
function identity(name: string, ...rights: string[]): Identity {
  const principal = name === '' ? anonymous : { name, anonymous: false };
  const may = (_: unknown, action: Action, repository: string) => rights.includes(`${repository}:${action}`);
  return { principal, authorizer: { may } };
}

describe('every decorator', () => {
  const located = { size: 4, dataKey: 'data/1', address: async () => undefined, open: async () => undefined };
  const alice = identity('alice', 'team/app:pull');
  const around: Record<string, (inner: Registry) => Registry> = {
    readOnly,
    authorized: (inner) => authorized(inner, alice),
    immutableTags: (inner) => immutableTags(inner, ['**:v*']),
    announcing: (inner) => announcing(inner, () => {}),
  };

  it.each(Object.entries(around))(
    '%s hands on where bytes are, and has no place for them of its own',
    async (_, wrap) => {
      const knowing: Registry = { ...registry, locateBlob: async () => located };

      expect(await wrap(knowing).locateBlob?.('team/app', digest)).toBe(located);
      expect('locateBlob' in wrap(registry)).toBe(false);
    },
  );

  it('authorized tells nobody where bytes are that he may not read', async () => {
    const knowing: Registry = { ...registry, locateBlob: async () => located };
    const locate = (who: Identity) => async () => authorized(knowing, who).locateBlob?.('team/app', digest);

    await expectCode('DENIED', locate(identity('bob', 'team/app:push', 'team/other:pull')));
    await expectCode('UNAUTHORIZED', locate(identity('')));
  });
});

describe('readOnly', () => {
  it('passes reads and refuses the rest as UNSUPPORTED', async () => {
    for (const [name, call] of Object.entries(calls(readOnly(registry)))) {
      if (reads.includes(name)) await call();
      else await expectCode('UNSUPPORTED', call);
    }
    expect((await readOnly(registry).listRepositories({ limit: 5 })).entries).toEqual(['team/app']);
  });
});

describe('authorized', () => {
  it.each([
    ['pull', reads],
    ['delete', deletes],
    [
      'push',
      Object.keys(calls(createMemoryRegistry())).filter((name) => ![...reads, ...deletes].includes(name)),
    ],
  ])('needs %s for just the methods of that right', async (action, methods) => {
    const allowed = calls(authorized(registry, identity('ann', `team/app:${action}`)));
    const refused = calls(
      authorized(
        registry,
        identity(
          'ann',
          ...['pull', 'push', 'delete']
            .filter((other) => other !== action)
            .map((other) => `team/app:${other}`),
        ),
      ),
    );

    for (const name of methods) {
      await expectCode('DENIED', refused[name] as () => Promise<unknown>);
      const outcome = await allowed[name]?.().catch((error: unknown) => error);
      expect(outcome).not.toMatchObject({ code: 'DENIED' });
    }
  });

  it('asks nobody in particular to log in, wherever he asks', async () => {
    for (const call of Object.values(calls(authorized(registry, identity(''))))) {
      await expectCode('UNAUTHORIZED', call);
    }
    await expectCode('UNAUTHORIZED', () => authorized(registry, identity('')).getManifest('no/such', 'v1'));
    await expectCode('DENIED', () => authorized(registry, identity('ann')).getManifest('no/such', 'v1'));
  });

  it('gives upload sessions to whom opened them, whatever the caller claims', async () => {
    const ann = authorized(registry, identity('ann', 'team/app:push'));
    const bob = authorized(registry, identity('bob', 'team/app:push'));

    const { id } = await ann.startUpload('team/app', { owner: 'bob' });

    await expectCode('BLOB_UPLOAD_UNKNOWN', () => bob.uploadStatus('team/app', id, { owner: 'ann' }));
    await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
      bob.writeUpload('team/app', id, Readable.from([blob]), { owner: 'ann' }),
    );
    await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
      bob.finishUpload('team/app', id, digest, Readable.from([blob]), { owner: 'ann' }),
    );
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => bob.cancelUpload('team/app', id, { owner: 'ann' }));
    await ann.finishUpload('team/app', id, digest, Readable.from([blob]));
  });

  it('mounts only from what the caller may pull, and does not say why not', async () => {
    await registry.putBlob('team/secret', digestOf('secret'), Buffer.from('secret'));
    const blind = authorized(registry, identity('ann', 'team/app:push', 'team/app:pull'));
    const seeing = authorized(registry, identity('ann', 'team/app:push', 'team/secret:pull'));

    expect(await blind.mountBlob('team/app', digestOf('secret'), 'team/secret')).toBe(false);
    expect(await blind.mountBlob('team/app', digestOf('secret'), undefined)).toBe(false);
    expect(await blind.mountBlob('team/app', digestOf('secret'), undefined, () => true)).toBe(false);
    expect(await seeing.mountBlob('team/app', digestOf('secret'), 'team/secret', () => false)).toBe(false);
    expect(await seeing.mountBlob('team/app', digestOf('secret'), undefined)).toBe(true);
  });

  it('fills pages of repositories with those that may be read', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      await pushContent(registry, { [name]: { manifests: { one: {} } } });
    const view = authorized(registry, identity('ann', 'b:pull', 'd:pull', 'e:pull', 'a:push'));

    expect(await view.listRepositories({ limit: 2 })).toEqual({ entries: ['b', 'd'], next: 'd' });
    expect(await view.listRepositories({ limit: 2, last: 'd' })).toEqual({ entries: ['e'] });
    expect(await view.listRepositories({ limit: 0 })).toEqual({ entries: [] });
  });
});

describe('a token for the catalog alone', () => {
  it('lists what its owner may pull and reads none of it', async () => {
    for (const name of ['a', 'b']) await pushContent(registry, { [name]: { manifests: { one: {} } } });
    const { principal, authorizer } = identity('ann', 'b:pull');
    const narrowed = {
      may: () => false,
      mayList: (_: unknown, repository: string) => authorizer.may(principal, 'pull', repository),
    };
    const view = authorized(registry, { principal, authorizer: narrowed });

    expect((await view.listRepositories({ limit: 10 })).entries).toEqual(['b']);
    await expectCode('DENIED', () => view.listTags('b', { limit: 10 }));
  });
});

describe('immutableTags', () => {
  it('creates and confirms matching tags, moves and removes only the others', async () => {
    const fixed = immutableTags(registry, ['team/*:v*', 'other/**:x']);

    await fixed.putManifest('team/app', 'v1', one.bytes, ociManifest);
    await fixed.putManifest('team/app', 'v2', two.bytes, ociManifest);
    await expectCode('DENIED', () => fixed.putManifest('team/app', 'v1', two.bytes, ociManifest));
    await expectCode('DENIED', () =>
      fixed.putManifest('team/app', two.digest, two.bytes, ociManifest, { tags: ['latest', 'v1'] }),
    );
    await expectCode('DENIED', () => fixed.deleteTag('team/app', 'v1'));
    await expectCode('DENIED', () => fixed.deleteManifest('team/app', one.digest));
    expect((await registry.resolveManifest('team/app', 'v1')).digest).toBe(one.digest);

    await fixed.putManifest('team/app', 'latest', two.bytes, ociManifest);
    await fixed.deleteTag('team/app', 'latest');
    await registry.deleteTag('team/app', 'v2');
    await fixed.deleteManifest('team/app', two.digest);
  });

  it('reads a pattern’s other characters as they are', async () => {
    const fixed = immutableTags(registry, ['team/app:1.0', 'team/a?p:*']);

    for (const tag of ['1x0', 'latest']) {
      await fixed.putManifest('team/app', tag, one.bytes, ociManifest);
      await fixed.putManifest('team/app', tag, two.bytes, ociManifest);
    }
    await fixed.putManifest('team/app', '1.0', one.bytes, ociManifest);
    await expectCode('DENIED', () => fixed.putManifest('team/app', '1.0', two.bytes, ociManifest));
  });
});

describe('announcing', () => {
  it('tells of pushes and deletes that succeeded, and of nothing else', async () => {
    const events: RegistryChange[] = [];
    const told = announcing(registry, (event) => events.push(event));

    await told.putManifest('team/app', 'v3', two.bytes, ociManifest, { tags: ['v4'] });
    await expectCode('MANIFEST_INVALID', () => told.putManifest('team/app', 'v3', blob, ociManifest));
    await told.deleteTag('team/app', 'v4');
    await told.deleteManifest('team/app', two.digest);
    await expectCode('MANIFEST_UNKNOWN', () => told.deleteManifest('team/app', two.digest));
    await told.deleteBlob('team/app', digest);
    await expectCode('BLOB_UNKNOWN', () => told.deleteBlob('team/app', digest));

    const repository = 'team/app';
    const { digest: pushed, bytes } = two;
    expect(events).toEqual([
      {
        action: 'push',
        repository,
        digest: pushed,
        mediaType: ociManifest,
        size: bytes.length,
        tags: ['v3', 'v4'],
      },
      { action: 'untag', repository, tag: 'v4' },
      { action: 'delete', repository, digest: pushed },
      { action: 'unlink', repository, digest },
    ]);
  });
});
