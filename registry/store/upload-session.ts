import type { MultipartState } from '../../core/object-store/object-store.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { UploadOwner } from '../../oci/registry.ts';
import type { StoreContext } from './context.ts';
import { uploadKey } from './paths.ts';
import { type RecordHeader, readRecord, replaceRecord, type Versioned } from './record.ts';
import type { SavedHash } from './upload-hash.ts';

/**
 * An upload session. open → committing (its bytes were checked against `digest` and are frozen) ; any → reaping, which is final.
 * Most end as `committing`: whether the blob was committed, its pointer and link say. Only where the bytes turned out not to be needed
 * a session becomes `done`, so that the same request sent twice does not take them for the blob's. The payload holds the bytes as long as there are few (`inlineLimit`): a non-empty payload means that
 * nothing in `multipart` counts yet.
 */
export interface SessionHeader extends RecordHeader {
  readonly state: 'open' | 'committing' | 'done' | 'reaping';
  readonly repository: string;
  /** Undefined = anonymous. */
  readonly owner?: string;
  /** Where the bytes go; nobody else ever writes there. */
  readonly dataKey: string;
  readonly multipart?: MultipartState | undefined;
  /** Bytes kept so far. */
  readonly offset: number;
  /** Of the digest that will be asked for, where the client said so at the start. */
  readonly algorithm?: DigestAlgorithm;
  /** Over the first bytes of the upload, as far as it says itself. */
  readonly hash?: SavedHash | undefined;
  /** From `committing` on. */
  readonly digest?: Digest;
  /** Milliseconds since the epoch when it became `done`. */
  readonly finished?: number;
}

export type Session = Versioned<SessionHeader> & { readonly header: SessionHeader };

/** A session whose blob was committed is remembered so long, so that a repeated final PUT whose answer was lost succeeds. */
export const doneSessionLifetime = 60 * 60 * 1000;

/** Errors: BLOB_UPLOAD_UNKNOWN, also for a session of another repository or owner. */
export async function readSession(
  context: StoreContext,
  repository: string,
  id: string,
  options: UploadOwner = {},
): Promise<Session> {
  // Ids come from the address line; only what we could have made ourselves reaches the store.
  if (!/^[0-9a-f]{32}$/.test(id)) throw unknownUpload(id);
  const record = await readRecord<SessionHeader>(context, uploadKey(id));
  if (!isSession(record)) throw unknownUpload(id);
  const { header } = record;
  if (!belongsTo(record, repository, options) || header.state === 'reaping') throw unknownUpload(id);
  if (header.state === 'done' && context.clock() - (header.finished ?? 0) > doneSessionLifetime) {
    throw unknownUpload(id);
  }
  return record;
}

export function belongsTo({ header }: Session, repository: string, { owner }: UploadOwner): boolean {
  return header.repository === repository && header.owner === owner;
}

function isSession(record: Versioned<SessionHeader>): record is Session {
  return record.header !== undefined;
}

/**
 * Sessions need no more than to outlive the process: after power loss the client starts the upload anew, and an upload that
 * was acknowledged no longer depends on its session. `payload` stays as it is unless given. Undefined: lost.
 */
export async function replaceSession(
  context: StoreContext,
  id: string,
  session: Session,
  changes: Partial<SessionHeader>,
  payload: Buffer = session.payload,
): Promise<Session | undefined> {
  const { nonce: _, ...header } = { ...session.header, ...changes };
  const options = { payload, durability: 'process' } as const;
  const written = (await replaceRecord<SessionHeader>(context, uploadKey(id), session, header, options)) as
    | Session
    | undefined;
  if (written !== undefined && !context.store.multipart.exclusive) context.sessions?.set(id, written);
  return written;
}

/** False once a reaper or a cancelling client has taken the session, or the same request sent twice has finished it. */
export async function isStillCommitting(context: StoreContext, id: string, digest: Digest): Promise<boolean> {
  const { header } = await readRecord<SessionHeader>(context, uploadKey(id));
  return header !== undefined && header.digest === digest && header.state === 'committing';
}

export function unknownUpload(id: string): OciError {
  return new OciError('BLOB_UPLOAD_UNKNOWN', { detail: { id: id.slice(0, 64) } });
}

/** Somebody else wrote to the session meanwhile: the client has to ask where it stands. */
export function busyUpload(): OciError {
  return new OciError('RANGE_INVALID', { message: 'another request is writing to this upload' });
}
