import type { Readable } from 'node:stream';
import { isOciError } from '../../oci/errors.ts';
import type { StartUploadOptions, UploadOwner, UploadStatus, WriteOptions } from '../../oci/registry.ts';
import { resolveBlob } from './blobs.ts';
import type { StoreContext } from './context.ts';
import { dataKey, uploadDataPrefix, uploadKey } from './paths.ts';
import { fenceOff } from './pointer.ts';
import { replaceRecord } from './record.ts';
import { appendUpload, awaitWriter, checkStart } from './upload-append.ts';
import { uploadIdPrefix } from './upload-count.ts';
import {
  readSession,
  replaceSession,
  type Session,
  type SessionHeader,
  unknownUpload,
} from './upload-session.ts';

export async function startUpload(
  context: StoreContext,
  repository: string,
  options: StartUploadOptions = {},
): Promise<UploadStatus> {
  const id = `${uploadIdPrefix(options.owner)}${context.random().slice(8)}`;
  const header = {
    state: 'open',
    repository,
    ...(options.owner === undefined ? {} : { owner: options.owner }),
    dataKey: dataKey(context.random()),
    offset: 0,
    ...(options.algorithm === undefined ? {} : { algorithm: options.algorithm }),
  } as const;
  const absent = { etag: undefined };
  const written = await replaceRecord<SessionHeader>(context, uploadKey(id), absent, header, {
    durability: 'process',
  });
  if (written === undefined) throw new Error('a fresh upload id was taken');
  return { id, offset: 0 };
}

/** Errors: BLOB_UPLOAD_UNKNOWN. */
export async function uploadStatus(
  context: StoreContext,
  repository: string,
  id: string,
  options: UploadOwner = {},
): Promise<UploadStatus> {
  const session = await readUnfinished(context, repository, id, options);
  if (session.header.state !== 'open') return { id, offset: session.header.offset };
  // The client asks because its connection broke: the last bytes may be on their way to the session at this moment.
  await awaitWriter(context, id, session);
  const { header } = await readUnfinished(context, repository, id, options);
  return { id, offset: header.offset };
}

/** Errors: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID, SIZE_INVALID. */
export async function writeUpload(
  context: StoreContext,
  repository: string,
  id: string,
  body: Readable,
  options: WriteOptions = {},
): Promise<UploadStatus> {
  const session = await readUnfinished(context, repository, id, options);
  if (session.header.state !== 'open') throw unknownUpload(id);
  checkStart(session, options.start);
  const held = await appendUpload(context, id, session, body, options);
  await held.close();
  return { id, offset: held.session.header.offset };
}

/** Errors: BLOB_UPLOAD_UNKNOWN. */
export async function cancelUpload(
  context: StoreContext,
  repository: string,
  id: string,
  options: UploadOwner = {},
): Promise<void> {
  for (;;) {
    const session = await readUnfinished(context, repository, id, options);
    const reaping = await replaceSession(context, id, session, { state: 'reaping' });
    if (reaping === undefined) continue;
    await dropUpload(context, id, reaping);
    return;
  }
}

/**
 * Removes the bytes of a session in state `reaping`, and the session. A finisher that runs at this moment either sees that
 * state before it writes the pointer, or its write fails because the pointer got a new nonce here.
 */
export async function dropUpload(context: StoreContext, id: string, session: Session): Promise<void> {
  const { digest, dataKey: key, multipart } = session.header;
  const mayBeInUse = digest !== undefined && !(await fenceOff(context, digest, key));
  if (multipart !== undefined) await context.store.multipart.abort(key, multipart);
  if (!mayBeInUse) await context.store.delete(key);
  if (!context.store.multipart.exclusive) await dropUnnamed(context, id, key);
  await context.store.delete(uploadKey(id));
}

/** Bytes of writers who died before the session learned of them. None of them is ever named again: the session is `reaping`. */
async function dropUnnamed(context: StoreContext, id: string, named: string): Promise<void> {
  const { objects } = await context.store.list({ prefix: uploadDataPrefix(id) });
  const keys = objects.map(({ key }) => key);
  await context.store.deleteMany(keys.filter((key) => key !== named && !key.startsWith(`${named}/`)));
}

async function readUnfinished(
  context: StoreContext,
  repository: string,
  id: string,
  options: UploadOwner,
): Promise<Session> {
  const session = await readSession(context, repository, id, options);
  if (session.header.state === 'done' || (await isCommitted(context, session))) throw unknownUpload(id);
  return session;
}

/** Also when the blob came here by another way meanwhile: the upload is as needless then. */
async function isCommitted(context: StoreContext, { header }: Session): Promise<boolean> {
  if (header.state !== 'committing' || header.digest === undefined) return false;
  try {
    await resolveBlob(context, header.repository, header.digest);
    return true;
  } catch (error) {
    if (isOciError(error, 'BLOB_UNKNOWN')) return false;
    throw error;
  }
}
