import { Readable } from 'node:stream';
import type { MultipartState } from '../../core/object-store/object-store.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { WriteOptions } from '../../oci/registry.ts';
import { commitBlob, inlineLimit } from './blob-commit.ts';
import type { StoreContext } from './context.ts';
import { dataKey } from './paths.ts';
import { createUploadBody, readHead, type UploadBody } from './upload-body.ts';
import { createNativeHash, sha256Of } from './upload-hash.ts';

/** A blob in one request: no session, and nothing stays behind when it fails. Errors: DIGEST_INVALID, SIZE_INVALID. */
export async function putBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
  content: Readable | Buffer,
  options: WriteOptions = {},
): Promise<Descriptor> {
  const stream = Buffer.isBuffer(content) ? Readable.from([content], { objectMode: false }) : content;
  const body = createUploadBody(stream, options.length);
  const { head, ended } = await readHead(body, inlineLimit);
  if (ended && head.length <= inlineLimit) {
    const hash = createNativeHash(digestAlgorithm(digest));
    hash.update(head);
    check(body, hash.finish().digest, digest);
    const commit = { repository, digest, size: head.length, bytes: { inline: head } };
    return collectedMeanwhile(await commitBlob(context, commit), digest);
  }
  const key = dataKey(context.random());
  const { multipart } = context.store;
  let state = await multipart.create(key);
  const discard = async (): Promise<void> => {
    await multipart.abort(key, state);
    await context.store.delete(key);
  };
  try {
    state = await receive(context, key, state, { head, body, digest });
  } catch (error) {
    await discard();
    throw error;
  }
  // From here on commitBlob decides: after a write of unknown outcome the bytes have to stay.
  const complete = (): Promise<void> => multipart.complete(key, state);
  const bytes = { dataKey: key, complete, discard };
  return collectedMeanwhile(
    await commitBlob(context, { repository, digest, size: state.offset, bytes }),
    digest,
  );
}

async function receive(
  context: StoreContext,
  key: string,
  begun: MultipartState,
  upload: { head: Buffer; body: UploadBody; digest: Digest },
): Promise<MultipartState> {
  const hash = createNativeHash(digestAlgorithm(upload.digest));
  const writer = await context.store.multipart.resume(key, begun);
  try {
    for (let chunk: Buffer | undefined = upload.head; chunk !== undefined; chunk = await upload.body.next()) {
      hash.update(chunk);
      await writer.write(chunk);
    }
    const finished = hash.finish();
    check(upload.body, finished.digest, upload.digest);
    return await writer.checkpoint({ last: true, sha256: sha256Of(finished) });
  } finally {
    await writer.close();
  }
}

function check(body: UploadBody, actual: Digest | undefined, wanted: Digest): void {
  if (body.failure !== undefined) throw body.failure;
  if (actual !== wanted) throw new OciError('DIGEST_INVALID', { detail: { given: wanted, actual } });
}

function collectedMeanwhile(descriptor: Descriptor | undefined, digest: Digest): Descriptor {
  if (descriptor === undefined) {
    throw new OciError('UNAVAILABLE', {
      message: 'the blob was removed while it was pushed; push it again',
      detail: { digest },
    });
  }
  return descriptor;
}
