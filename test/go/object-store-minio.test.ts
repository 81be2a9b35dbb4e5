import { afterAll, beforeAll } from 'vitest';
import { createS3Store } from '../../core/object-store/s3.ts';
import { type MinioStore, startMinio } from '../helpers/minio.ts';
import { objectStoreSuite } from '../suites/object-store.ts';

// Part of `npm run test:go`: MinIO has to be built first.
let minio: MinioStore;
beforeAll(async () => {
  minio = await startMinio();
}, 900_000);
afterAll(async () => {
  await minio.stop();
});

objectStoreSuite(
  'the S3 store over MinIO',
  async () => {
    const store = createS3Store({
      endpoint: minio.endpoint,
      region: minio.region,
      bucket: await minio.createBucket(),
      credentials: minio,
    });
    return { store, close: () => store.close() };
  },
  { hidesKeysBelowKeys: true },
);
