import { MultipartUnknown } from '../object-store.ts';
import { isFailure } from './failure.ts';
import { isWhole, type Piece, partBytes, type UploadState } from './multipart-state.ts';
import type { UploadCalls } from './upload-calls.ts';

/**
 * Makes the upload's object hold all of the state's bytes, in time independent of their number; does nothing when it does so already.
 * Safe to repeat, also at the same time elsewhere, as long as everybody has the same state. Pieces stay. Errors: MultipartUnknown.
 */
export async function assemble(calls: UploadCalls, key: string, state: UploadState): Promise<void> {
  const { upload, etags, pieces } = state;
  if (isWhole(state)) return;
  if (upload === undefined) {
    const bytes = await calls.readPieces(key, pieces);
    // Pieces go when an upload is complete, or aborted.
    if (bytes === undefined) return mustBeThere(calls, key, state);
    return calls.replaceWhole(key, bytes);
  }
  try {
    if (pieces.length === 0) await calls.finish(key, upload, etags);
    // What a dead writer sent behind these parts may be more than the last of ours, which then could be no short one.
    else if (state.short !== undefined || (await calls.hasMore(key, upload, etags.length)))
      await appendTo(calls, key, await reopen(calls, key, state));
    else if (!(await appendTo(calls, key, { upload, etags, pieces }))) await mustBeThere(calls, key, state);
  } catch (error) {
    if (!isFailure(error, 'noUpload')) throw error;
    const there = await calls.sizeOf(key);
    if (there === state.offset) return;
    // Completed by somebody who read it back while it had fewer bytes, or who died before he cut off what a dead writer had sent: what
    // is there goes on in a new upload.
    if (!holdsParts(state, there)) throw gone();
    const opened = await reopen(calls, key, state);
    if (opened.pieces.length === 0) await calls.finish(key, opened.upload, opened.etags);
    else await appendTo(calls, key, opened);
  }
}

/** An upload that parts can be sent to. */
export interface OpenUpload {
  readonly upload: string;
  /** Of full parts. */
  readonly etags: readonly string[];
  /** What the next part begins with. */
  readonly pieces: readonly Piece[];
}

/** False: a piece is gone. Errors: S3Failure `noUpload`. */
async function appendTo(
  calls: UploadCalls,
  key: string,
  { upload, etags, pieces }: OpenUpload,
): Promise<boolean> {
  const last = await calls.readPieces(key, pieces);
  if (last === undefined) return false;
  const etag = await calls.sendPart(key, upload, etags.length + 1, last);
  await calls.finish(key, upload, [...etags, etag]);
  return true;
}

/**
 * Goes on where nothing can follow: behind a short part, or where the upload was completed to be read back. What is there becomes
 * the object, and its full parts are copied from that into a new upload. Errors: MultipartUnknown.
 */
export async function reopen(calls: UploadCalls, key: string, state: UploadState): Promise<OpenUpload> {
  const { plan, etags, short, pieces } = state;
  if (state.upload === undefined) throw new Error('nothing was uploaded in parts');
  try {
    await calls.finish(key, state.upload, etags);
  } catch (error) {
    if (!isFailure(error, 'noUpload')) throw error;
    if (!holdsParts(state, await calls.sizeOf(key))) throw gone();
  }
  const rebuilt = await calls.rebuild(key, state);
  return {
    ...rebuilt,
    pieces: short === undefined ? pieces : [{ start: plan.start(etags.length), bytes: short }, ...pieces],
  };
}

/**
 * Size is proof enough. States that anybody completes are those that the caller recorded, one after the other, so each holds the
 * bytes of those before it; and what another writer may have put there in one request is smaller than one part.
 */
function holdsParts(state: UploadState, size: number | undefined): boolean {
  return size !== undefined && size >= partBytes(state);
}

async function mustBeThere(calls: UploadCalls, key: string, state: UploadState): Promise<void> {
  if ((await calls.sizeOf(key)) !== state.offset) throw gone();
}

function gone(): MultipartUnknown {
  return new MultipartUnknown('the upload was completed elsewhere, aborted or reaped');
}
