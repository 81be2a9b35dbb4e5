import type { Readable } from 'node:stream';

/**
 * Where everything durable lives. Strongly consistent: a read or list sees every write that was acknowledged.
 *
 * Keys are non-empty UTF-8 text of parts joined by `/`; no part is empty, `.` or `..`, none holds NUL, a part is at most 255 bytes and a key at most
 * 1,024 bytes. One key may be a prefix of another (`catalog/a`, `catalog/a/b`).
 * Errors everywhere: ObjectStoreUnavailable ("could not look" is never "not there").
 */
export interface ObjectStore {
  /**
   * Undefined = no such key. The caller consumes or destroys `body`. `range.end` is inclusive and may lie behind the last byte.
   * Errors: RangeNotSatisfiable when `range.start` is not inside of the object.
   */
  getStream(key: string, range?: { start: number; end: number }): Promise<StoredStream | undefined>;
  /** For small objects: the whole of it, or its first `limit` bytes. Undefined = no such key. */
  get(key: string, options?: { limit?: number }): Promise<StoredObject | undefined>;
  head(key: string): Promise<ObjectInfo | undefined>;
  /**
   * Atomic: readers see the old object or the new one whole. Returns once it is durable.
   * Errors: PreconditionFailed when the condition did not hold and nothing was written.
   */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<{ etag: string }>;
  /** Deleting what is not there is no error. */
  delete(key: string): Promise<void>;
  /** Many deletes; none of the keys is an error. */
  deleteMany(keys: readonly string[]): Promise<void>;
  /** One page of keys that start with `prefix`, in the byte order of their UTF-8. */
  list(options: ListOptions): Promise<ListPage>;
  /**
   * Makes empty objects that were put with durability 'process' under these prefixes (each ends in `/`) survive power loss, at the price of
   * their directories alone. Nothing to do where every acknowledged put is durable (S3).
   */
  syncPrefixes(prefixes: readonly string[]): Promise<void>;
  /**
   * An address where whoever has it may read the object for a while, without credentials of his own. Asks nobody: the object need not exist.
   * Undefined = this store has no addresses (files, memory).
   */
  presign(key: string, options: PresignOptions): Promise<string | undefined>;
  readonly multipart: MultipartStore;
}

export interface PresignOptions {
  readonly method: 'GET' | 'HEAD';
  /** From now by the store's clock. */
  readonly expiresInSeconds: number;
  /** The answer's Content-Type, whatever the object was stored with. */
  readonly contentType?: string;
}

export interface ObjectInfo {
  /** Bytes. */
  readonly size: number;
  /** Opaque; the same value for the same version of the object from every method. */
  readonly etag: string;
  /** Time of the last write by the store's own clock. */
  readonly modified: Date;
}

export interface StoredObject extends ObjectInfo {
  /** Whole, or cut at `limit`; `size` is that of the whole object. Shared with other readers: never changed. */
  readonly body: Buffer;
}

export interface StoredStream extends ObjectInfo {
  readonly body: Readable;
}

export interface PutOptions {
  /** `'*'`: only if no object is there. */
  readonly ifNoneMatch?: '*';
  /** Only if the object still is this version. */
  readonly ifMatch?: string;
  /**
   * 'machine' (default): survives power loss before the promise resolves.
   * 'process': survives the death of any process, for what is written again anyway after power loss (upload sessions,
   * log chunks, references whose directories are synced by `syncPrefixes`).
   * Power loss may leave it empty or take it away, and with it the object that it replaced.
   */
  readonly durability?: 'machine' | 'process';
}

export interface ListOptions {
  readonly prefix: string;
  /** Only keys and common prefixes after this one in byte order; need not exist. A common prefix is compared as it is written, with its `/`. */
  readonly startAfter?: string;
  /** At most so many keys and common prefixes together; default and maximum 1000, the most that S3 gives. */
  readonly limit?: number;
  /** Only `'/'`: keys that hold it after `prefix` are folded into `prefixes` up to and with it. */
  readonly delimiter?: '/';
}

export interface ListPage {
  /** In byte order. */
  readonly objects: readonly ListedObject[];
  /** Common prefixes, each ending in the delimiter; in byte order. */
  readonly prefixes: readonly string[];
  /** More follows: pass the greater of the last key and the last prefix as `startAfter`… `next` is that value. */
  readonly next?: string;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  readonly modified: Date;
}

/**
 * Bytes that arrive in several requests, perhaps in several processes, and become one object.
 * `state` is JSON-safe, small, and kept by the caller between requests; only what the last `checkpoint` returned counts.
 */
export interface MultipartStore {
  /**
   * A writer keeps all others out until it closes or dies. False: two may write at the same time, in two processes, and what the caller
   * records by compare-and-set decides whose bytes count.
   */
  readonly exclusive: boolean;
  create(key: string): Promise<MultipartState>;
  /**
   * Continues at `state`'s offset: the first write drops the bytes behind it, of a writer that died. Nothing is dropped before, so whoever
   * finds with the upload in his hands that his `state` is an old one closes again and has done no harm.
   * Errors: MultipartBusy while another live writer holds it, MultipartUnknown when it was completed or aborted.
   */
  resume(key: string, state: MultipartState): Promise<MultipartWriter>;
  /** Makes the object appear under its key, durable, in time independent of its size. Repeating it is no error. Errors: MultipartUnknown, MultipartBusy. */
  complete(key: string, state: MultipartState): Promise<void>;
  /** Drops the bytes. Aborting what is not there is no error. */
  abort(key: string, state: MultipartState): Promise<void>;
  /** Reads back what has arrived so far, to rebuild a hash after a restart. */
  read(key: string, state: MultipartState): Promise<Readable>;
  /**
   * Uploads that were neither completed nor aborted, whoever began them; bytes of theirs cost money. Only some stores can tell (S3):
   * where abandoned uploads go by themselves there are none.
   */
  incomplete(): AsyncIterable<IncompleteUpload>;
}

export interface IncompleteUpload {
  readonly key: string;
  /** By the store's clock. */
  readonly initiated: Date;
  /** Drops its bytes. No error when somebody completed or aborted it meanwhile. */
  abort(): Promise<void>;
}

export type MultipartState = { readonly offset: number } & { readonly [name: string]: JsonValue };

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export interface CheckpointOptions {
  /** The caller believes that nothing follows: the store may keep the rest in the way that makes `complete` cheap. Going on is still allowed. */
  readonly last?: boolean;
  /** False: what would have to be written twice for that may be left out; the state's `offset` says how far it goes. */
  readonly whole?: boolean;
  /** Of all bytes of the upload, in hex, where the caller knows it: a store that has to prove what it sends need not hash it again. */
  readonly sha256?: string | undefined;
}

export interface MultipartWriter {
  /** Takes `chunk` over for good: the caller never changes it again. Resolves at once while buffers are free, later when the caller should wait. */
  write(chunk: Buffer): Promise<void>;
  /**
   * Everything written so far survives the death of this process; returns the state to resume from.
   */
  checkpoint(options?: CheckpointOptions): Promise<MultipartState>;
  /** Lets another writer in. Safe to call twice, and after a failure; does not checkpoint. */
  close(): Promise<void>;
}

/** The condition of a put did not hold; nothing was written. */
export class PreconditionFailed extends Error {
  override readonly name = 'PreconditionFailed';
}

/** The store could not answer, or the outcome of a write is unknown. */
export class ObjectStoreUnavailable extends Error {
  override readonly name: string = 'ObjectStoreUnavailable';
}

/** There is no room for more: reading goes on, and writing does once somebody makes room. */
export class ObjectStoreFull extends ObjectStoreUnavailable {
  override readonly name = 'ObjectStoreFull';
}

export class RangeNotSatisfiable extends Error {
  override readonly name = 'RangeNotSatisfiable';
  readonly size: number;
  constructor(size: number) {
    super(`range lies outside of the object's ${size} bytes`);
    this.size = size;
  }
}

export class MultipartBusy extends Error {
  override readonly name = 'MultipartBusy';
}

export class MultipartUnknown extends Error {
  override readonly name = 'MultipartUnknown';
}
