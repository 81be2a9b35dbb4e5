import type { Readable } from 'node:stream';
import {
  type CheckpointOptions,
  MultipartBusy,
  type MultipartState,
  MultipartUnknown,
  type MultipartWriter,
} from '../../core/object-store/object-store.ts';
import type { DigestAlgorithm } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import type { WriteOptions } from '../../oci/registry.ts';
import { inlineLimit } from './blob-commit.ts';
import type { StoreContext } from './context.ts';
import { uploadDataKey, uploadKey } from './paths.ts';
import { readRecord } from './record.ts';
import { createUploadBody, readHead, type UploadBody } from './upload-body.ts';
import { createNativeHash, createSavableHash, noHash, sha256Of, type UploadHash } from './upload-hash.ts';
import {
  busyUpload,
  readSession,
  replaceSession,
  type Session,
  type SessionHeader,
  unknownUpload,
} from './upload-session.ts';

/** While a long body streams, the session learns of it so often: a server that is killed loses no more than this. */
const checkpointBytes = 64 * 1024 * 1024;
const checkpointMilliseconds = 5_000;

/** With growing pauses, 0.7 s in all. */
const busyTries = 7;

const empty = Buffer.alloc(0);

interface HashOptions {
  readonly chunked?: boolean;
  /** Of the digest, where it is known already. */
  readonly algorithm?: DigestAlgorithm;
  /** Nothing comes after this body. */
  readonly final?: boolean;
}

/** A session whose bytes nobody else can add to until `close`. */
export interface HeldUpload {
  readonly session: Session;
  readonly close: () => Promise<void>;
}

interface Writing extends HeldUpload {
  readonly writer: MultipartWriter;
}

/**
 * Takes the right to write. A session without multipart upload needs no lock: its few bytes are part of the session, and
 * that changes by compare-and-set. Errors: RANGE_INVALID (another request is writing), BLOB_UPLOAD_UNKNOWN.
 */
export async function holdUpload(context: StoreContext, id: string, session: Session): Promise<HeldUpload> {
  return session.header.multipart === undefined
    ? { session, close: async () => {} }
    : holdWriter(context, id, session);
}

async function holdWriter(context: StoreContext, id: string, session: Session): Promise<Writing> {
  const { repository, owner } = session.header;
  const writer = await takeWriter(context, id, session);
  if (!context.store.multipart.exclusive) return { session, writer, close: () => writer.close() };
  try {
    // Only what the session says now, with the lock held, counts: a writer before us may just have let go.
    const current = await readSession(context, repository, id, owner === undefined ? {} : { owner });
    if (current.etag !== session.etag) throw busyUpload();
    return { session, writer, close: () => writer.close() };
  } catch (error) {
    await writer.close();
    throw error;
  }
}

/** Resolves once nobody writes to the upload, or after a while all the same. */
export async function awaitWriter(context: StoreContext, id: string, session: Session): Promise<void> {
  if (session.header.multipart === undefined || !context.store.multipart.exclusive) return;
  try {
    const writer = await takeWriter(context, id, session);
    await writer.close();
  } catch (error) {
    if (!isOciError(error, 'RANGE_INVALID')) throw error;
  }
}

/** Whoever held it may be a process that is dying at this moment, or a request whose client has gone: it is waited for, a little. */
async function takeWriter(context: StoreContext, id: string, session: Session): Promise<MultipartWriter> {
  const { dataKey, multipart } = session.header;
  if (multipart === undefined) throw new Error('the session has no multipart upload');
  for (let tries = 1; ; tries++) {
    try {
      return await context.store.multipart.resume(dataKey, multipart);
    } catch (error) {
      if (!(error instanceof MultipartBusy) || tries > busyTries) throw translate(error, id);
    }
    await context.wait(25 * tries);
  }
}

/**
 * Appends a body; what arrived before a failure is kept. The caller closes what it gets, also after an error was put into
 * `failure`.
 */
export async function appendUpload(
  context: StoreContext,
  id: string,
  session: Session,
  stream: Readable,
  options: WriteOptions & HashOptions,
): Promise<HeldUpload> {
  const body = createUploadBody(stream, options.length);
  if (session.header.multipart !== undefined) {
    return appendTo(context, id, await holdWriter(context, id, session), empty, body, options);
  }
  const { head, ended } = await readHead(body, inlineLimit - session.payload.length);
  if (session.payload.length + head.length <= inlineLimit && ended) {
    const small = head.length === 0 ? session : await appendInline(context, id, session, head);
    if (body.failure !== undefined) throw body.failure;
    return { session: small, close: async () => {} };
  }
  const large = await beginMultipart(context, id, session);
  return appendTo(context, id, await holdWriter(context, id, large), head, body, options);
}

async function appendInline(
  context: StoreContext,
  id: string,
  session: Session,
  head: Buffer,
): Promise<Session> {
  const payload = Buffer.concat([session.payload, head]);
  const written = await replaceSession(context, id, session, { offset: payload.length }, payload);
  if (written === undefined) throw busyUpload();
  return written;
}

async function beginMultipart(context: StoreContext, id: string, session: Session): Promise<Session> {
  // A key of its own: where two replicas begin at once, the loser drops everything under his.
  const key = uploadDataKey(id, context.random());
  const multipart = await context.store.multipart.create(key);
  if (!context.store.multipart.exclusive) {
    // The first checkpoint decides who has begun: until then nobody else needs to know.
    const { etag, header, payload, modified } = session;
    return { etag, header: { ...header, dataKey: key, multipart }, payload, modified };
  }
  const begun = await replaceSession(context, id, session, { dataKey: key, multipart });
  if (begun !== undefined) return begun;
  await context.store.multipart.abort(key, multipart);
  throw busyUpload();
}

async function appendTo(
  context: StoreContext,
  id: string,
  held: Writing,
  head: Buffer,
  body: UploadBody,
  options: HashOptions,
): Promise<HeldUpload> {
  const { writer } = held;
  let { session } = held;
  let saving: Background | undefined;
  try {
    const first = head.length > 0 ? head : await body.next();
    if (first !== undefined) {
      const hash = await hashSoFar(session, options);
      let unsaved = 0;
      let saved = context.clock();
      const keep = async (chunk: Buffer): Promise<void> => {
        hash.update(chunk);
        unsaved += chunk.length;
        await writer.write(chunk);
      };
      if (session.payload.length > 0) await keep(session.payload);
      for (let chunk: Buffer | undefined = first; chunk !== undefined; chunk = await body.next()) {
        if (chunk.length > 0) await keep(chunk);
        if (saving?.settled === false) continue;
        const now = context.clock();
        if (unsaved < checkpointBytes && now - saved < checkpointMilliseconds) continue;
        session = (await saving?.session) ?? session;
        const state = hash.state();
        // A hash that cannot be kept in mid-stream goes with whatever is safe; bytes that the session holds itself must not get lost.
        const whole = state !== undefined || session.payload.length > 0;
        saving = inBackground(checkpoint(context, id, session, writer, state, { whole }));
        unsaved = 0;
        saved = now;
      }
      session = (await saving?.session) ?? session;
      // A body that broke off goes on in another request, and so does one that said it is a chunk.
      const last = body.failure === undefined && (options.chunked !== true || options.final === true);
      const finished = hash.finish();
      session = await checkpoint(context, id, session, writer, finished, {
        last,
        sha256: sha256Of(finished),
      });
    }
    if (body.failure !== undefined) throw body.failure;
    return { session, close: held.close };
  } catch (error) {
    await writer.close();
    await saving?.session.catch(() => {});
    throw translate(error, id);
  }
}

/** A checkpoint that is under way while the body goes on. */
interface Background {
  readonly session: Promise<Session>;
  settled: boolean;
}

function inBackground(session: Promise<Session>): Background {
  const background: Background = { session, settled: false };
  const settle = (): void => {
    background.settled = true;
  };
  // A failure is met by whoever awaits the session next.
  session.then(settle, settle);
  return background;
}

async function checkpoint(
  context: StoreContext,
  id: string,
  session: Session,
  writer: MultipartWriter,
  hash: ReturnType<UploadHash['state']>,
  options: CheckpointOptions,
): Promise<Session> {
  const multipart = await writer.checkpoint(options);
  const changes = { multipart, offset: multipart.offset, hash };
  const written = await replaceSession(context, id, session, changes, empty);
  if (written !== undefined) return written;
  await dropUnrecorded(context, id, session, multipart);
  // Another replica was faster; or the session was cancelled, or reaped as abandoned: then reading it says so.
  const { repository, owner } = session.header;
  const { header } = await readSession(context, repository, id, owner === undefined ? {} : { owner });
  throw header.state === 'open' ? busyUpload() : unknownUpload(id);
}

/** What a loser wrote under a key that the session never named: once it names one, that stays. */
async function dropUnrecorded(
  context: StoreContext,
  id: string,
  { header }: Session,
  multipart: MultipartState,
): Promise<void> {
  if (context.store.multipart.exclusive) return;
  const recorded = await readRecord<SessionHeader>(context, uploadKey(id));
  if (recorded.header === undefined || recorded.header.dataKey === header.dataKey) return;
  await context.store.multipart.abort(header.dataKey, multipart);
  await context.store.delete(header.dataKey);
}

/**
 * A hash over everything that the multipart upload holds; the payload is still to be written to both. Where nothing was kept that could go on
 * (the request before broke off, or hashed natively), nothing is hashed: the end reads all bytes, once, however many requests follow.
 */
async function hashSoFar({ header, payload }: Session, options: HashOptions): Promise<UploadHash> {
  const algorithm = options.algorithm ?? header.algorithm ?? 'sha256';
  const offset = payload.length > 0 ? 0 : header.offset;
  if (offset === 0) {
    const savable = options.final !== true && options.chunked === true;
    return savable ? createSavableHash(algorithm) : createNativeHash(algorithm);
  }
  const { hash: saved } = header;
  if (saved?.state !== undefined && saved.offset === offset && saved.algorithm === algorithm) {
    return createSavableHash(algorithm, saved);
  }
  return noHash;
}

/** Feeds `hash` with what arrived in earlier requests. */
export async function rehash(
  context: StoreContext,
  session: Session,
  hash: { update(chunk: Uint8Array): void },
): Promise<void> {
  const { dataKey, multipart } = session.header;
  if (multipart === undefined) return;
  for await (const chunk of await context.store.multipart.read(dataKey, multipart)) {
    hash.update(chunk as Buffer);
  }
}

export function translate(error: unknown, id: string): unknown {
  if (error instanceof MultipartBusy) return busyUpload();
  if (error instanceof MultipartUnknown) return unknownUpload(id);
  return error;
}

/** Errors: RANGE_INVALID. */
export function checkStart(session: Session, start: number | undefined): void {
  if (start === undefined || start === session.header.offset) return;
  throw new OciError('RANGE_INVALID', {
    message: `the upload goes on at byte ${session.header.offset}, not at ${start}`,
    detail: { offset: session.header.offset },
  });
}
