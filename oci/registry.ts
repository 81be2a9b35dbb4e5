import type { Readable } from 'node:stream';
import type { Descriptor } from './descriptor.ts';
import type { Digest, DigestAlgorithm } from './digest.ts';

/**
 * The one interface that the stored registry, the HTTP client, the memory registry and all decorators speak.
 *
 * Names, tags and digests were checked by whoever took them from outside (`oci/reference.ts`, `oci/digest.ts`);
 * implementations trust them. Every method may also raise UNAVAILABLE (the store or the network could not answer:
 * never to be read as "not there"), and over HTTP or behind `authorized` UNAUTHORIZED and DENIED.
 */
export interface Registry extends Reader, Writer, Deleter, Lister {}

/** Bytes `start` … `end`, both included, as in an HTTP Range; already checked against the size by the caller or raised as RANGE_INVALID. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface BlobContent {
  /** Size of the whole blob in bytes, whatever part `body` holds. */
  readonly size: number;
  /** The caller consumes or destroys it. */
  readonly body: Readable;
}

/** A blob that was found and may be read; nothing is open yet. */
export interface LocatedBlob {
  /** Bytes. */
  readonly size: number;
  /**
   * The store's name of the bytes, which no other bytes ever have, for somebody else who can fetch them there. Undefined: they are too
   * few to lie on their own, or they may soon be gone; only `open` gives them.
   */
  readonly dataKey?: string;
  /**
   * Where whoever has it may read the bytes for so long without asking us; their Content-Type there is application/octet-stream.
   * The address is a secret and names no repository. Undefined: the store has no addresses, or there is no `dataKey`.
   */
  address(options: BlobAddressOptions): Promise<string | undefined>;
  /** The caller consumes or destroys it. Undefined: gone meanwhile, and `getBlob` knows more. Errors: RANGE_INVALID. */
  open(range?: ByteRange): Promise<Readable | undefined>;
}

export interface BlobAddressOptions {
  readonly method: 'GET' | 'HEAD';
  readonly expiresInSeconds: number;
}

export interface ManifestContent {
  readonly descriptor: Descriptor;
  /** Exactly the bytes that were pushed: the digest is over bytes, not over meaning. */
  readonly bytes: Buffer;
  /** For the person who pulls: what the answer's `Warning` header says (distribution-spec "Warnings"). Plain ASCII without quotes. */
  readonly warning?: string;
}

export interface Reader {
  /**
   * Errors: BLOB_UNKNOWN when the blob is not linked in this repository (whether or not the registry has it:
   * knowing a digest is not a right), RANGE_INVALID.
   */
  getBlob(repository: string, digest: Digest, range?: ByteRange): Promise<BlobContent>;
  /**
   * For whoever may let somebody else send the bytes: as strict about who may read as `getBlob`, and what it finds with a `dataKey` is as
   * fresh as an answer of `resolveBlob`. Left out where bytes come no other way than through `getBlob`.
   * Undefined: not to be found this way; `getBlob` and `resolveBlob` decide whether it is there at all.
   */
  locateBlob?(repository: string, digest: Digest): Promise<LocatedBlob | undefined>;
  /**
   * A success lets a client skip an upload, so it is never answered from a cache and renews the blob's life.
   * `mediaType` of the answer is always application/octet-stream. Errors: BLOB_UNKNOWN.
   */
  resolveBlob(repository: string, digest: Digest): Promise<Descriptor>;
  /** `reference` is a tag or a digest. Errors: MANIFEST_UNKNOWN, NAME_UNKNOWN. */
  getManifest(repository: string, reference: string): Promise<ManifestContent>;
  /** Errors: MANIFEST_UNKNOWN, NAME_UNKNOWN. */
  resolveManifest(repository: string, reference: string): Promise<Descriptor>;
}

export interface UploadStatus {
  /** Opaque, unguessable, URL-safe. */
  readonly id: string;
  /** Bytes kept so far; the next chunk starts here. */
  readonly offset: number;
}

/** Who opened an upload session; a session is served to nobody else. Undefined = anonymous. */
export interface UploadOwner {
  readonly owner?: string;
}

export interface StartUploadOptions extends UploadOwner {
  /** Of the digest that will be given at the end (dev spec: `?digest-algorithm=`); saves reading the bytes again for sha512. Default sha256. */
  readonly algorithm?: DigestAlgorithm;
}

export interface WriteOptions extends UploadOwner {
  /** Where the client says this chunk starts (Content-Range); undefined = a streamed body that continues at the offset. */
  readonly start?: number;
  /** Bytes that the client announced (Content-Length or the length of Content-Range); SIZE_INVALID when the body differs. */
  readonly length?: number;
  /** More chunks will follow for certain (the request carried a Content-Range): keep a hash state that can be saved. */
  readonly chunked?: boolean;
}

export interface PutManifestOptions {
  /** Further tags to set when `reference` is a digest (dev spec: `?tag=a&tag=b`). */
  readonly tags?: readonly string[];
  /** Those of the tags that are only created or confirmed, never moved: DENIED when one points at another manifest. */
  readonly immutableTags?: readonly string[];
  /**
   * Compare-and-set: each of these tags, named in `tags` too, is set only while it points at this digest (undefined: while there is no such
   * tag) or already at the manifest that is pushed; else DENIED and nothing of the push is tagged. HTTP cannot say it: UNSUPPORTED.
   */
  readonly replaces?: Readonly<Record<string, Digest | undefined>>;
}

export interface PutManifestResult {
  readonly descriptor: Descriptor;
  /** The manifest's `subject`, to be announced as `OCI-Subject`. */
  readonly subject?: Digest;
  /** Tags that were set, to be announced as `OCI-Tag`. */
  readonly tags: readonly string[];
}

export interface Writer {
  /** Opens an upload session. Errors: none of its own. */
  startUpload(repository: string, options?: StartUploadOptions): Promise<UploadStatus>;
  /** Errors: BLOB_UPLOAD_UNKNOWN (also for a session of another repository or owner). */
  uploadStatus(repository: string, id: string, options?: UploadOwner): Promise<UploadStatus>;
  /**
   * Appends `body`. Whatever arrived before a failure is kept and `uploadStatus` tells how much.
   * Errors: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID (out of order, or another request is writing), SIZE_INVALID.
   */
  writeUpload(repository: string, id: string, body: Readable, options?: WriteOptions): Promise<UploadStatus>;
  /**
   * Checks the digest over all bytes and makes the blob readable in `repository`; repeating it after success succeeds.
   * Errors: BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID (the session stays as it was), RANGE_INVALID, SIZE_INVALID.
   */
  finishUpload(
    repository: string,
    id: string,
    digest: Digest,
    body?: Readable,
    options?: WriteOptions,
  ): Promise<Descriptor>;
  /** Errors: BLOB_UPLOAD_UNKNOWN. */
  cancelUpload(repository: string, id: string, options?: UploadOwner): Promise<void>;
  /** Upload in one call; leaves nothing behind on failure. Errors: DIGEST_INVALID, SIZE_INVALID. */
  putBlob(
    repository: string,
    digest: Digest,
    body: Readable | Buffer,
    options?: WriteOptions,
  ): Promise<Descriptor>;
  /**
   * Makes a blob of `from` readable in `repository` without moving bytes. `from` undefined: any repository that holds it
   * and that `mayRead` accepts. False = not possible, upload instead (never says why: that would be an oracle).
   */
  mountBlob(
    repository: string,
    digest: Digest,
    from: string | undefined,
    mayRead?: (repository: string) => boolean,
  ): Promise<boolean>;
  /**
   * `reference` is a tag or the digest of `bytes`.
   * Errors: MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN (a layer or config is not linked here), DIGEST_INVALID, SIZE_TOO_LARGE.
   */
  putManifest(
    repository: string,
    reference: string,
    bytes: Buffer,
    mediaType: string,
    options?: PutManifestOptions,
  ): Promise<PutManifestResult>;
}

export interface Deleter {
  /** Removes the repository's right to the blob. Errors: BLOB_UNKNOWN. */
  deleteBlob(repository: string, digest: Digest): Promise<void>;
  /** Removes the manifest and every tag that still points at it. Errors: MANIFEST_UNKNOWN. */
  deleteManifest(repository: string, digest: Digest): Promise<void>;
  /** Errors: MANIFEST_UNKNOWN. */
  deleteTag(repository: string, tag: string): Promise<void>;
}

export interface PageOptions {
  /** At most so many entries; 0 gives an empty page. */
  readonly limit: number;
  /** Only entries that come after this one in byte order. */
  readonly last?: string;
}

export interface Page<T> {
  readonly entries: readonly T[];
  /** Pass as `last` for the next page; undefined = this was the end. */
  readonly next?: string;
}

export interface ReferrersOptions extends PageOptions {
  /** Only descriptors with this artifactType. */
  readonly artifactType?: string;
}

export interface Lister {
  /** Tags in byte order. Errors: NAME_UNKNOWN. */
  listTags(repository: string, page: PageOptions): Promise<Page<string>>;
  /** Repositories in byte order. */
  listRepositories(page: PageOptions): Promise<Page<string>>;
  /** Manifests whose `subject` is `digest`, whether or not that manifest exists; an unknown repository has none. `last` is a digest. */
  listReferrers(repository: string, digest: Digest, page: ReferrersOptions): Promise<Page<Descriptor>>;
}
