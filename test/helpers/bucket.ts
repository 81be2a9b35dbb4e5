import {
  DeleteObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';

/** Deletes every object under `prefix`, many at a time; what begins with `keep` stays. */
export async function emptyBucket(
  s3: S3Client,
  bucket: string,
  { prefix = '', keep }: { readonly prefix?: string; readonly keep?: string } = {},
): Promise<void> {
  let after: string | undefined;
  do {
    const page = await s3.send(
      new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: after }),
    );
    const keys = (page.Contents ?? [])
      .filter(({ Key = '' }) => keep === undefined || !Key.startsWith(keep))
      .map(({ Key }) => ({ Key }));
    if (keys.length > 0) {
      await s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys, Quiet: true } }));
    }
    after = page.NextContinuationToken;
  } while (after !== undefined);
}

/** Puts many small objects, `parallel` at a time. */
export async function fillBucket(
  s3: S3Client,
  bucket: string,
  objects: Iterable<{ readonly key: string; readonly body: Uint8Array }>,
  parallel = 64,
): Promise<void> {
  const rest = objects[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      for (let each = rest.next(); each.done !== true; each = rest.next()) {
        const { key, body } = each.value;
        await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
      }
    }),
  );
}
