import { pipeline, type Readable, Transform } from 'node:stream';
import type { Digest } from '../digest.ts';
import { isOciError, OciError } from '../errors.ts';
import type { Reader, UploadStatus, Writer } from '../registry.ts';
import type { Calls } from './calls.ts';
import { CopyAborted, CopyFault, isTransient } from './copy-fault.ts';

/** Up to here a blob is sent in one request from memory: it saves the session's requests, and can be sent again. */
export const smallBlobBytes = 256 * 1024;

export interface BlobTransfer {
  readonly source: Pick<Reader, 'getBlob'>;
  readonly target: Writer;
  readonly from: string;
  readonly to: string;
  readonly digest: Digest;
  readonly calls: Calls;
  readonly signal: AbortSignal | undefined;
  /** Bytes that arrived since the last call; negative when a part has to be sent again. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Moves one blob through this process without holding it: what a broken connection left is continued where the upload session stands.
 * The target compares the digest; a session that cannot be completed is cancelled. Returns the size. Errors: CopyFault, CopyAborted.
 */
export async function transferBlob(transfer: BlobTransfer): Promise<number> {
  const { source, from, digest, calls } = transfer;
  const subject = `blob ${digest}`;
  const first = await calls.on('source', subject, () => source.getBlob(from, digest));
  if (first.size > smallBlobBytes) return sendLarge(transfer, first, subject);

  let held = await collect(first.body).catch(() => undefined);
  // It broke off: asked for anew, as often as any other question.
  held ??= await calls.on('source', subject, async () => collect((await source.getBlob(from, digest)).body));
  const bytes = held;
  await calls.on('target', subject, () =>
    transfer.target.putBlob(transfer.to, digest, bytes, { length: bytes.length }),
  );
  transfer.onBytes(bytes.length);
  return bytes.length;
}

async function sendLarge(
  transfer: BlobTransfer,
  first: { readonly size: number; readonly body: Readable },
  subject: string,
): Promise<number> {
  const { target, to, digest, calls } = transfer;
  const { size } = first;
  let body: Readable | undefined = first.body;
  let session: UploadStatus | undefined;
  let counted = 0;
  let kept = 0;
  let failures = 0;
  let continued = false;
  try {
    for (;;) {
      try {
        session ??= await calls.on('target', subject, () => target.startUpload(to));
        transfer.onBytes(session.offset - counted);
        counted = session.offset;
        if (session.offset < size) {
          continued = session.offset > 0;
          body ??= await openRest(transfer, session.offset, size, subject);
          session = await send(transfer, session, body, size, (bytes) => {
            counted += bytes;
          });
        }
        const { id } = session;
        await calls.on('target', subject, () => target.finishUpload(to, id, digest));
        return size;
      } catch (error) {
        body?.destroy();
        body = undefined;
        failures += 1;
        session = await afterFailure(transfer, session, error, failures, continued, subject);
        // A long blob over a bad line gets there as long as each attempt brings some of it.
        if (session !== undefined && session.offset > kept) failures = 0;
        kept = Math.max(kept, session?.offset ?? 0);
      }
    }
  } catch (error) {
    body?.destroy();
    // Best effort: the target reaps sessions that nobody ends.
    if (session !== undefined) await target.cancelUpload(to, session.id).catch(() => {});
    throw error;
  }
}

/** Where to go on: the session as the target has it, undefined = a new one. Errors: `error`, when there is no going on. */
async function afterFailure(
  transfer: BlobTransfer,
  session: UploadStatus | undefined,
  error: unknown,
  failures: number,
  continued: boolean,
  subject: string,
): Promise<UploadStatus | undefined> {
  const { target, to, calls } = transfer;
  const { side, cause } = error instanceof CopyFault ? error : { side: 'target' as const, cause: error };
  if (error instanceof CopyAborted) throw error;
  const lost = isOciError(cause, 'BLOB_UPLOAD_UNKNOWN') || isOciError(cause, 'RANGE_INVALID');
  // Where the parts were joined may be at fault, so it is sent once more from its start.
  const wrong = side === 'target' && isOciError(cause, 'DIGEST_INVALID') && continued;
  if (!(isTransient(cause) || lost || wrong) || !(await calls.mayRetry(side, failures))) throw error;
  if (session === undefined) return undefined;
  if (wrong) {
    await target.cancelUpload(to, session.id).catch(() => {});
    return undefined;
  }
  const { id } = session;
  try {
    return await calls.on('target', subject, () => target.uploadStatus(to, id));
  } catch (failure) {
    if (failure instanceof CopyFault && !isTransient(failure.cause)) return undefined;
    throw failure;
  }
}

async function openRest(
  { source, from, digest, calls }: BlobTransfer,
  start: number,
  size: number,
  subject: string,
): Promise<Readable> {
  const { body } = await calls.on('source', subject, () =>
    start === 0
      ? source.getBlob(from, digest)
      : source.getBlob(from, digest, { start, end: size - 1 }).catch((error: unknown) => {
          // No ranges there: what the session has is read once more and dropped.
          if (isOciError(error, 'UNAVAILABLE')) return skipped(source, from, digest, start);
          throw error;
        }),
  );
  return body;
}

async function skipped(
  source: Pick<Reader, 'getBlob'>,
  from: string,
  digest: Digest,
  bytes: number,
): Promise<{ size: number; body: Readable }> {
  const { size, body } = await source.getBlob(from, digest);
  let left = bytes;
  const rest = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const dropped = Math.min(left, chunk.length);
      left -= dropped;
      callback(null, dropped === chunk.length ? undefined : chunk.subarray(dropped));
    },
  });
  return { size, body: joined(body, rest) };
}

async function send(
  transfer: BlobTransfer,
  session: UploadStatus,
  body: Readable,
  size: number,
  onSent: (bytes: number) => void,
): Promise<UploadStatus> {
  const { target, to, digest, signal, onBytes } = transfer;
  const watched = new Transform({
    highWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, callback) {
      onSent(chunk.length);
      onBytes(chunk.length);
      callback(null, chunk);
    },
  });
  let broken: unknown;
  // Before they are joined: when the target ends first, `body` is ended with an error too, which is none of its own.
  body.once('error', (error) => {
    if (!watched.destroyed) broken = error;
  });
  joined(body, watched);
  const abort = (): void => void watched.destroy(new CopyAborted());
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted === true) abort();
  const { id, offset } = session;
  try {
    // The first request names no length: what arrives of it before a failure is kept.
    const options = offset === 0 ? {} : { start: offset, length: size - offset };
    const status = await target.writeUpload(to, id, watched, options);
    // Not every registry says where it stands; the digest tells in the end.
    if (status.offset === size || status.offset === 0) return { ...status, offset: size };
    throw new OciError('UNAVAILABLE', { message: `the target kept ${status.offset} of ${size} bytes` });
  } catch (error) {
    if (signal?.aborted === true) throw new CopyAborted();
    if (broken !== undefined) throw new CopyFault('source', `blob ${digest}`, broken);
    throw new CopyFault('target', `blob ${digest}`, error);
  } finally {
    signal?.removeEventListener('abort', abort);
    watched.destroy();
  }
}

/** `through` with the bytes of `body`; the end of either is the end of both. */
function joined(body: Readable, through: Transform): Transform {
  // Errors reach whoever reads `through`, be it later; until then they must not end the process.
  through.on('error', () => {});
  pipeline(body, through, () => {});
  return through;
}

async function collect(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
