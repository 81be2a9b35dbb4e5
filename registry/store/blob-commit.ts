import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from './context.ts';
import { linkBlob } from './link.ts';
import { pointerKey } from './paths.ts';
import {
  fenceOff,
  isUsable,
  keepAlive,
  type Pointer,
  type PointerHeader,
  readPointer,
  type UsablePointer,
} from './pointer.ts';
import { neverWritten, replaceRecord } from './record.ts';

/** Bytes up to this many are kept in the pointer itself: one object and one round trip less. */
export const inlineLimit = 8 * 1024;

/** Checked bytes that wait to become a blob. */
export type CheckedBytes =
  | { readonly inline: Buffer }
  | {
      readonly dataKey: string;
      /** Makes the data object appear, durable. Called at most once. */
      readonly complete: () => Promise<void>;
      /** The bytes are not needed, completed or not: the registry had the blob already, or the session was taken away. */
      readonly discard: () => Promise<void>;
    };

export interface BlobCommit {
  readonly repository: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly bytes: CheckedBytes;
  /** False: the session was taken away (reaped); asked after every read that found a pointer, before that is replaced. */
  readonly stillMine?: () => Promise<boolean>;
}

/**
 * Order: content, pointer, link. Undefined: the session was taken away, or the blob was collected in between; the bytes are
 * gone and have to be sent again. Errors: ObjectStoreUnavailable = outcome unknown, nothing was undone.
 */
export async function commitBlob(context: StoreContext, commit: BlobCommit): Promise<Descriptor | undefined> {
  const { repository, digest, size } = commit;
  const pointer = await commitPointer(context, commit);
  if (pointer === undefined) return undefined;
  const linked = await linkBlob(context, repository, digest, { seen: { link: neverWritten, pointer } });
  return linked ? { mediaType: 'application/octet-stream', digest, size } : undefined;
}

/**
 * Neither pointer nor link are read first: clients ask before they send a blob, so most often nothing is there yet, and writing says so. Nor
 * does anybody have to be asked whose the bytes are: whoever takes a session away replaces the pointer before he touches the bytes,
 * and a pointer that was there once is never absent again.
 */
async function commitPointer(context: StoreContext, commit: BlobCommit): Promise<UsablePointer | undefined> {
  const { repository, digest, size, bytes } = commit;
  let completed = false;
  for (let known: Pointer | undefined = neverWritten; ; known = undefined) {
    const pointer = known ?? (await readPointer(context, digest, { headerOnly: true }));
    if (isUsable(pointer)) {
      const alive = await keepAlive(context, digest, pointer);
      if (alive === undefined) continue;
      // Ours already when an earlier try, or the same request sent twice, got so far.
      if ('dataKey' in bytes && alive.header.dataKey !== bytes.dataKey) await bytes.discard();
      return alive;
    }
    // Our own bytes came so far in an earlier try and were collected since: they are going, whoever holds their key.
    if ('dataKey' in bytes && pointer.header?.dataKey === bytes.dataKey) return undefined;
    if ('dataKey' in bytes && !completed) {
      await bytes.complete();
      completed = true;
    }
    if (pointer.etag !== undefined && commit.stillMine !== undefined && !(await commit.stillMine())) {
      if ('dataKey' in bytes) {
        // The same request sent twice, and the other one got through after this one looked: then they are the blob's bytes.
        if (!(await fenceOff(context, digest, bytes.dataKey))) continue;
        await bytes.discard();
      }
      return undefined;
    }
    // Where a pointer once was, ours may have been it, and have been collected to its end: its bytes are gone then.
    if ('dataKey' in bytes && pointer.etag !== undefined) {
      if ((await context.store.head(bytes.dataKey)) === undefined) return undefined;
    }
    const header = { state: 'live', gen: context.random(), size, home: repository } as const;
    const written = await replaceRecord<PointerHeader>(
      context,
      pointerKey(digest),
      pointer,
      'dataKey' in bytes ? { ...header, dataKey: bytes.dataKey } : header,
      'inline' in bytes ? { payload: bytes.inline } : {},
    );
    if (written === undefined) continue;
    // A collector that died between `deleting` and the deletion leaves its bytes to whoever brings new ones.
    const old = pointer.header?.dataKey;
    if (old !== undefined) await context.store.delete(old);
    return written as UsablePointer;
  }
}
