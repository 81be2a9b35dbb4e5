import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from './context.ts';
import { pointerKey } from './paths.ts';
import { buryRecord, type RecordHeader, readRecord, replaceRecord, type Versioned } from './record.ts';

/**
 * Where a blob's bytes are, and whether they stay.
 * live → condemned (collector: no reference seen) → deleting (bytes are going) ; condemned → live by anybody who needs the
 * blob ; deleting → live only with new bytes under a new key and a new generation.
 */
export interface PointerHeader extends RecordHeader {
  readonly state: 'live' | 'condemned' | 'deleting';
  /** Random per incarnation of the blob: a link with another generation gives no right. */
  readonly gen: string;
  /** Bytes. */
  readonly size: number;
  /** Undefined: the bytes are the record's payload. */
  readonly dataKey?: string;
  /** Where this incarnation was pushed first: a hint for mounts without `from`, and no right to anything. */
  readonly home?: string;
}

export type Pointer = Versioned<PointerHeader>;

/** A pointer whose bytes are there. */
export type UsablePointer = Pointer & { readonly header: PointerHeader };

export function readPointer(
  context: StoreContext,
  digest: Digest,
  options: { headerOnly?: boolean } = {},
): Promise<Pointer> {
  return readRecord<PointerHeader>(context, pointerKey(digest), options);
}

export function isUsable(pointer: Pointer): pointer is UsablePointer {
  return pointer.header !== undefined && pointer.header.state !== 'deleting';
}

/**
 * The blob's pointer in state live, for an answer that lets a client skip an upload: live is taken as it is, without writing;
 * condemned is turned back. Undefined: the blob is not there. `seen` spares the first read.
 */
export async function keepAlive(
  context: StoreContext,
  digest: Digest,
  seen?: Pointer,
): Promise<UsablePointer | undefined> {
  let pointer = seen ?? (await readPointer(context, digest, { headerOnly: true }));
  for (;;) {
    if (!isUsable(pointer)) return undefined;
    if (pointer.header.state === 'live') return pointer;
    // The payload has to be written again with the new state.
    pointer = await readPointer(context, digest);
    if (!isUsable(pointer) || pointer.header.state === 'live') continue;
    const { nonce: _, ...header } = pointer.header;
    const revived = await replaceRecord<PointerHeader>(
      context,
      pointerKey(digest),
      pointer,
      { ...header, state: 'live' },
      { payload: pointer.payload },
    );
    pointer = revived ?? (await readPointer(context, digest, { headerOnly: true }));
  }
}

/**
 * Makes every write of the pointer that was prepared before this moment fail, so that nobody can bring `dataKey` into it who read
 * it earlier. False: the pointer names `dataKey`, its bytes stay. Errors: ObjectStoreUnavailable.
 */
export async function fenceOff(context: StoreContext, digest: Digest, dataKey: string): Promise<boolean> {
  for (;;) {
    const pointer = await readPointer(context, digest);
    if (pointer.header?.dataKey === dataKey) return false;
    const fenced =
      pointer.header === undefined
        ? await buryRecord(context, pointerKey(digest), pointer)
        : await replaceRecord<PointerHeader>(context, pointerKey(digest), pointer, pointer.header, {
            payload: pointer.payload,
          });
    if (fenced !== false && fenced !== undefined) return true;
  }
}
