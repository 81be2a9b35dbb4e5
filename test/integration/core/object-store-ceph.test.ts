import { afterAll, beforeAll } from 'vitest';
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
