import {
  ObjectStoreUnavailable,
  PreconditionFailed,
  type StoredObject,
} from '../../core/object-store/object-store.ts';
import type { StoreContext } from './context.ts';

/**
 * Objects that change only by compare-and-set. A body is one line of JSON that begins with its state and a fresh nonce (so
 * equal content never has an equal ETag), then perhaps a payload: a manifest's exact bytes, a small blob.
 */
export interface RecordHeader {
  readonly state: string;
  readonly nonce: string;
}

/** One version of a record, or its absence; what a later `replaceRecord` compares with. */
export interface Versioned<H extends RecordHeader> {
  /** Undefined: nothing is under the key. A tombstone has an etag and no header. */
  readonly etag: string | undefined;
  readonly header: H | undefined;
  /** Behind the header's line; cut where the read was limited. */
  readonly payload: Buffer;
  /** By the store's clock. */
  readonly modified: Date | undefined;
}

/** Exactly this many bytes is a tombstone, every other body is larger: a listing tells them apart without reading. */
export const tombstoneSize = 64;

/** Enough for every header; a longer one is read again, whole. */
const headerLimit = 1024;
const empty = Buffer.alloc(0);

export function encodeRecord(header: RecordHeader, payload: Uint8Array = empty): Buffer {
  const { state, nonce, ...rest } = header;
  const line = JSON.stringify({ state, nonce, ...rest }).padEnd(tombstoneSize, ' ');
  return Buffer.concat([Buffer.from(`${line}\n`), payload]);
}

export function encodeTombstone(nonce: string): Buffer {
  return Buffer.from(`${JSON.stringify({ state: 'gone', nonce }).padEnd(tombstoneSize - 1, ' ')}\n`);
}

/** Undefined: the line is longer than `body`. */
function decodeHeader(body: Buffer): { header: RecordHeader; payload: Buffer } | undefined {
  const end = body.indexOf(0x0a);
  if (end < 0) return undefined;
  return {
    header: JSON.parse(body.toString('utf8', 0, end)) as RecordHeader,
    payload: body.subarray(end + 1),
  };
}

export async function readRecord<H extends RecordHeader>(
  context: StoreContext,
  key: string,
  options: { headerOnly?: boolean } = {},
): Promise<Versioned<H>> {
  const stored = await context.store.get(key, options.headerOnly === true ? { limit: headerLimit } : {});
  if (stored === undefined) return neverWritten;
  // A store that knows the object to be unchanged gives the same one again.
  const known = context.records?.get(stored) as StoredRecord<H> | undefined;
  if (known !== undefined) return known;
  let record: StoredRecord<H>;
  if (stored.size === tombstoneSize) record = new StoredRecord<H>(stored, undefined, empty);
  else {
    const decoded = decodeHeader(stored.body);
    if (decoded === undefined) {
      if (options.headerOnly === true && stored.size > stored.body.length) return readRecord(context, key);
      throw new Error(`the object ${key} has no record header`);
    }
    record = new StoredRecord<H>(stored, decoded.header as H, decoded.payload);
  }
  context.records?.set(stored, record);
  return record;
}

/** A key that nobody has written yet, or none that is known: writing over it succeeds only where that is true. */
export const neverWritten: Versioned<never> = {
  etag: undefined,
  header: undefined,
  payload: empty,
  modified: undefined,
};

class StoredRecord<H extends RecordHeader> implements Versioned<H> {
  readonly header: H | undefined;
  readonly payload: Buffer;
  readonly #stored: StoredObject;
  readonly #etag: string | undefined;
  constructor(stored: StoredObject, header: H | undefined, payload: Buffer) {
    this.header = header;
    this.payload = payload;
    this.#stored = stored;
    // Where only a part was read, the store has to look again, which must not be after another version was written.
    if (stored.body.length < stored.size) this.#etag = stored.etag;
  }
  /** Asked for by writers alone; the file store has to hash the body for it. */
  get etag(): string {
    return this.#etag ?? this.#stored.etag;
  }
  get modified(): Date {
    return this.#stored.modified;
  }
}

export interface ReplaceOptions {
  readonly payload?: Uint8Array;
  /** Default 'machine'; 'process' for what is written again anyway before anything is acknowledged. */
  readonly durability?: 'machine' | 'process';
  /** Chosen beforehand where another key holds it; must never have been sent before. */
  readonly nonce?: string;
}

/** Undefined: lost, somebody else changed the record since `previous`. Errors: ObjectStoreUnavailable = outcome unknown. */
export async function replaceRecord<H extends RecordHeader>(
  context: StoreContext,
  key: string,
  previous: { readonly etag: string | undefined },
  header: Omit<H, 'nonce'> & { readonly state: H['state'] },
  options: ReplaceOptions = {},
): Promise<Versioned<H> | undefined> {
  const nonce = options.nonce ?? context.random();
  const written = { ...header, nonce } as unknown as H;
  const payload = options.payload ?? empty;
  const etag = await compareAndSet(context, key, previous.etag, {
    body: encodeRecord(written, payload),
    nonce,
    durability: options.durability ?? 'machine',
  });
  if (etag === undefined) return undefined;
  return { etag, header: written, payload: Buffer.from(payload), modified: undefined };
}

/** Turns a record into a tombstone. False: lost. Errors: ObjectStoreUnavailable = outcome unknown. */
export async function buryRecord(
  context: StoreContext,
  key: string,
  previous: { readonly etag: string | undefined },
): Promise<boolean> {
  const nonce = context.random();
  const body = encodeTombstone(nonce);
  return (
    (await compareAndSet(context, key, previous.etag, { body, nonce, durability: 'machine' })) !== undefined
  );
}

/** How often and how long a write of unknown outcome is sent again before the request gives up. */
const resends = 6;

/**
 * The new etag when won, undefined when lost.
 *
 * A write whose answer did not come is sent again until the store says yes or no. A no after that may be the echo of an own
 * write that did land, which the nonce tells. Once the store said no, no earlier sending can land any more: the version it
 * waits for never comes back. Errors: ObjectStoreUnavailable when the outcome stays unknown: the caller undoes nothing then.
 */
async function compareAndSet(
  context: StoreContext,
  key: string,
  expected: string | undefined,
  write: { body: Buffer; nonce: string; durability: 'machine' | 'process' },
): Promise<string | undefined> {
  const condition = expected === undefined ? ({ ifNoneMatch: '*' } as const) : { ifMatch: expected };
  const options = { ...condition, durability: write.durability };
  for (let sent = 1; ; sent++) {
    try {
      return (await context.store.put(key, write.body, options)).etag;
    } catch (error) {
      if (error instanceof PreconditionFailed) {
        if (sent === 1) return undefined;
        return etagIfOurs(context, key, write.nonce);
      }
      if (!(error instanceof ObjectStoreUnavailable) || sent > resends) throw error;
    }
    await context.wait(20 * 2 ** sent);
  }
}

async function etagIfOurs(context: StoreContext, key: string, nonce: string): Promise<string | undefined> {
  const stored = await context.store.get(key, { limit: headerLimit });
  return stored?.body.includes(`"nonce":"${nonce}"`) === true ? stored.etag : undefined;
}
