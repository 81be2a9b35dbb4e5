import type { Readable } from 'node:stream';
import { MultipartBusy } from '../../core/object-store/object-store.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestAlgorithm, digestOf } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import type { WriteOptions } from '../../oci/registry.ts';
import { type CheckedBytes, commitBlob } from './blob-commit.ts';
import { resolveBlob } from './blobs.ts';
import type { StoreContext } from './context.ts';
import { fenceOff } from './pointer.ts';
import { appendUpload, checkStart, holdUpload, rehash, translate } from './upload-append.ts';
import { createNativeHash, digestFrom } from './upload-hash.ts';
import {
  belongsTo,
  busyUpload,
  isStillCommitting,
  readSession,
  replaceSession,
  type Session,
  unknownUpload,
} from './upload-session.ts';

/** Errors: BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID, RANGE_INVALID, SIZE_INVALID. */
export async function finishUpload(
  context: StoreContext,
  repository: string,
  id: string,
  digest: Digest,
  body: Readable | undefined,
  options: WriteOptions,
): Promise<Descriptor> {
  const known = body === undefined ? await sealKnown(context, repository, id, digest, options) : undefined;
  if (known !== undefined) return commitSession(context, id, known, digest);
  const session = await readSession(context, repository, id, options);
  if (session.header.state !== 'open') return finishSealed(context, session, id, digest);
  checkStart(session, options.start);
  let sealed: Session;
  try {
    sealed = await seal(context, id, session, digest, body, options);
  } catch (error) {
    if (!isOciError(error, 'RANGE_INVALID')) throw error;
    // The same request sent before, to a server that died: its last write may land after we looked.
    const now = await readSession(context, repository, id, options);
    if (now.header.state === 'open') throw error;
    return finishSealed(context, now, id, digest);
  }
  return commitSession(context, id, sealed, digest);
}

/**
 * The PUT most often comes to the process that took the bytes, and nobody has touched the session since; if somebody has, its
 * compare-and-set fails. Undefined: look at the store.
 */
async function sealKnown(
  context: StoreContext,
  repository: string,
  id: string,
  digest: Digest,
  options: WriteOptions,
): Promise<Session | undefined> {
  const session = context.sessions?.get(id);
  if (session === undefined || !belongsTo(session, repository, options)) return undefined;
  context.sessions?.delete(id);
  const { header } = session;
  // Anything else than the blob that it was sent as may be told from the store's word only.
  if (header.state !== 'open' || options.start !== undefined) return undefined;
  const sent = isInline(session) ? digestOf(session.payload, digestAlgorithm(digest)) : header.hash?.digest;
  if (sent !== digest) return undefined;
  try {
    return await seal(context, id, session, digest, undefined, options);
  } catch (error) {
    if (isOciError(error, 'RANGE_INVALID')) return undefined;
    throw error;
  }
}

/** A finisher that died, or the same request sent twice: the bytes were checked already. */
async function finishSealed(
  context: StoreContext,
  session: Session,
  id: string,
  digest: Digest,
): Promise<Descriptor> {
  if (session.header.state === 'done') return repeatFinish(context, session, id, digest);
  if (session.header.digest !== digest) throw unknownUpload(id);
  return commitSession(context, id, session, digest);
}

/** The answer to a final PUT was lost; it may only be given again while the blob is there. */
async function repeatFinish(
  context: StoreContext,
  session: Session,
  id: string,
  digest: Digest,
): Promise<Descriptor> {
  if (session.header.digest !== digest) throw unknownUpload(id);
  try {
    return await resolveBlob(context, session.header.repository, digest);
  } catch (error) {
    throw isOciError(error, 'BLOB_UNKNOWN') ? unknownUpload(id) : error;
  }
}

/** Appends the last bytes, checks the digest over all of them, and freezes the session. */
async function seal(
  context: StoreContext,
  id: string,
  session: Session,
  digest: Digest,
  body: Readable | undefined,
  options: WriteOptions,
): Promise<Session> {
  const algorithm = digestAlgorithm(digest);
  const held =
    body === undefined
      ? await holdUpload(context, id, session)
      : await appendUpload(context, id, session, body, { ...options, final: true, algorithm });
  try {
    const actual = await digestOfSession(context, held.session, digest);
    if (actual !== digest) throw new OciError('DIGEST_INVALID', { detail: { given: digest, actual } });
    // Before the lock is let go: nobody may write behind a checked digest.
    const changes = { state: 'committing', digest, hash: undefined } as const;
    const sealed = await replaceSession(context, id, held.session, changes);
    if (sealed === undefined) throw busyUpload();
    return sealed;
  } catch (error) {
    throw translate(error, id);
  } finally {
    await held.close();
  }
}

async function digestOfSession(context: StoreContext, session: Session, wanted: Digest): Promise<Digest> {
  const algorithm = digestAlgorithm(wanted);
  const { header, payload } = session;
  if (isInline(session)) return digestOf(payload, algorithm);
  const known = await digestFrom(header.hash, algorithm, header.offset);
  if (known !== undefined) return known;
  const hash = createNativeHash(algorithm);
  await rehash(context, session, hash);
  return hash.finish().digest;
}

function isInline(session: Session): boolean {
  return session.payload.length === session.header.offset;
}

async function commitSession(
  context: StoreContext,
  id: string,
  session: Session,
  digest: Digest,
): Promise<Descriptor> {
  const { repository, offset, dataKey, multipart } = session.header;
  let unused = false;
  const discard = async (): Promise<void> => {
    unused = true;
  };
  const descriptor = await commitBlob(context, {
    repository,
    digest,
    size: offset,
    bytes: isInline(session) ? { inline: session.payload } : storedBytes(context, id, session, discard),
    stillMine: () => isStillCommitting(context, id, digest),
  });
  const leftOver = isInline(session) && multipart !== undefined;
  if (descriptor !== undefined && (unused || leftOver)) {
    if (leftOver) await context.store.multipart.abort(dataKey, multipart);
    const changes = { state: 'done', finished: context.clock(), multipart: undefined } as const;
    // Lost = the same request sent twice wrote it, or a reaper took the session of a blob that is safe by now.
    await replaceSession(context, id, session, changes, Buffer.alloc(0));
  }
  // Only now: the same request sent twice may be about to commit these bytes. It looks at the session, then at the pointer.
  if (unused && (await fenceOff(context, digest, dataKey))) {
    if (multipart !== undefined) await context.store.multipart.abort(dataKey, multipart);
    await context.store.delete(dataKey);
  }
  if (descriptor === undefined) throw unknownUpload(id);
  return descriptor;
}

function storedBytes(
  context: StoreContext,
  id: string,
  session: Session,
  discard: () => Promise<void>,
): CheckedBytes {
  const { dataKey, multipart } = session.header;
  if (multipart === undefined) throw new Error('the session has neither bytes nor a multipart upload');
  return {
    dataKey,
    async complete() {
      for (let tries = 1; ; tries++) {
        try {
          await context.store.multipart.complete(dataKey, multipart);
          return;
        } catch (error) {
          // The same request sent twice is completing it at this moment.
          if (!(error instanceof MultipartBusy) || tries > 20) throw translate(error, id);
        }
        await context.wait(25 * tries);
      }
    },
    discard,
  };
}
