import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createS3Store } from '../../../core/object-store/s3.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { objectStoreSuite } from '../../suites/object-store.ts';

let ceph: CephStore;
beforeAll(async () => {
  ceph = await startCeph();
});
afterAll(async () => {
  await ceph.stop();
});

// Without a prefix the registry's own tests use it.
objectStoreSuite('the S3 store over Ceph, below a prefix that others begin with', async () => {
  const options = {
    endpoint: ceph.endpoint,
    region: ceph.region,
    bucket: await ceph.createBucket(),
    credentials: ceph,
  };
  const neighbour = createS3Store({ ...options, prefix: 'shared/brick-2' });
  await neighbour.put('a/neighbour', Buffer.from('x'));
  neighbour.close();
  const store = createS3Store({ ...options, prefix: 'shared/brick' });
  return { store, close: () => store.close() };
});

it('refuses bytes that are not those of the checksum they were signed with', async () => {
  const store = createS3Store({
    endpoint: ceph.endpoint,
    region: ceph.region,
    bucket: await ceph.createBucket(),
    credentials: ceph,
  });
  const sha256 = createHash('sha256').update('other bytes').digest('hex');
  const writer = await store.multipart.resume('data/1', await store.multipart.create('data/1'));
  try {
    await writer.write(Buffer.from('these bytes'));

    await expect(writer.checkpoint({ last: true, sha256 })).rejects.toThrow();
    expect(await store.get('data/1')).toBeUndefined();
  } finally {
    await writer.close();
    store.close();
  }
});
