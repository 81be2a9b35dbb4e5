import type { Digest } from '../../oci/digest.ts';

/** Pieces of one blob that lie on the disk. */
export interface IndexedBlob {
  readonly kind: 'blob';
  readonly digest: Digest;
  readonly size: number;
  /** Bytes of a piece; the last one may be shorter. A blob keeps the size it began with. */
  readonly slice: number;
  /** Their numbers, from 0. */
  readonly pieces: Set<number>;
  /** All of it was compared with the digest, and all of that is still here. */
  verified: boolean;
  /** Pieces that were removed so far: what was compared before is not what is here after. */
  removals: number;
  /** Milliseconds since 1970. */
  used: number;
}

/** A manifest by digest, or what a tag was answered. */
export interface IndexedDocument {
  readonly kind: 'manifest' | 'tag';
  readonly key: string;
  /** With `<ns>/` in front for other upstreams. */
  readonly repository: string;
  readonly digest: Digest;
  readonly tag?: string;
  /** On disk. */
  readonly bytes: number;
  used: number;
}

export type Indexed = IndexedBlob | IndexedDocument;

/** What lies in the cache, the longest unused first; in memory only, about 50 bytes for a piece and 500 for a blob or a document. */
export interface CacheIndex {
  readonly bytes: number;
  /** Pieces and documents. */
  readonly entries: number;
  readonly documents: number;
  blob(digest: string): IndexedBlob | undefined;
  document(key: string): IndexedDocument | undefined;
  /** Now used last. */
  touch(entry: Indexed, now: number): void;
  /** Takes the place of what had the same key. */
  addDocument(document: IndexedDocument): void;
  /** A blob that has other sizes than the one that is here must have been removed before. */
  addPiece(blob: Pick<IndexedBlob, 'digest' | 'size' | 'slice' | 'used'>, piece: number): IndexedBlob;
  removePiece(blob: IndexedBlob, piece: number): void;
  remove(entry: Indexed): void;
  /** The longest unused first. */
  all(): IterableIterator<Indexed>;
  /** What goes next: the longest unused that nobody reads, else the longest unused. */
  victim(busy: (digest: string) => boolean): Indexed | undefined;
}

export function createCacheIndex(): CacheIndex {
  // A map keeps the order in which keys came: whoever is used is taken out and put in again.
  const entries = new Map<string, Indexed>();
  let bytes = 0;
  let pieces = 0;
  let documents = 0;

  const put = (entry: Indexed): void => {
    entries.set(keyOf(entry), entry);
  };
  const remove = (entry: Indexed): void => {
    if (entries.get(keyOf(entry)) !== entry) return;
    entries.delete(keyOf(entry));
    if (entry.kind === 'blob') {
      for (const piece of entry.pieces) bytes -= pieceBytes(entry, piece);
      pieces -= entry.pieces.size;
    } else {
      bytes -= entry.bytes;
      documents -= 1;
    }
  };
  return {
    get bytes() {
      return bytes;
    },
    get entries() {
      return pieces + documents;
    },
    get documents() {
      return documents;
    },
    blob(digest) {
      const entry = entries.get(digest);
      return entry?.kind === 'blob' ? entry : undefined;
    },
    document(key) {
      const entry = entries.get(documentKey(key));
      return entry?.kind === 'blob' ? undefined : entry;
    },
    touch(entry, now) {
      if (entries.get(keyOf(entry)) !== entry) return;
      entry.used = now;
      entries.delete(keyOf(entry));
      put(entry);
    },
    addDocument(document) {
      const former = entries.get(keyOf(document));
      if (former !== undefined) remove(former);
      put(document);
      bytes += document.bytes;
      documents += 1;
    },
    addPiece({ digest, size, slice, used }, piece) {
      const found = entries.get(digest);
      const blob: IndexedBlob =
        found?.kind === 'blob'
          ? found
          : { kind: 'blob', digest, size, slice, pieces: new Set(), verified: false, removals: 0, used };
      if (blob !== found) put(blob);
      if (!blob.pieces.has(piece)) {
        blob.pieces.add(piece);
        pieces += 1;
        bytes += pieceBytes(blob, piece);
      }
      return blob;
    },
    removePiece(blob, piece) {
      blob.verified = false;
      blob.removals += 1;
      if (entries.get(blob.digest) !== blob || !blob.pieces.delete(piece)) return;
      pieces -= 1;
      bytes -= pieceBytes(blob, piece);
      if (blob.pieces.size === 0) entries.delete(blob.digest);
    },
    remove,
    all: () => entries.values(),
    victim(busy) {
      let first: Indexed | undefined;
      for (const entry of entries.values()) {
        if (entry.kind !== 'blob' || !busy(entry.digest)) return entry;
        first ??= entry;
      }
      return first;
    },
  };
}

export function pieceBytes(blob: { readonly size: number; readonly slice: number }, piece: number): number {
  return Math.max(0, Math.min(blob.slice, blob.size - piece * blob.slice));
}

export function pieceCount(blob: { readonly size: number; readonly slice: number }): number {
  return Math.ceil(blob.size / blob.slice);
}

/** Every piece is here. */
export function isWhole(blob: IndexedBlob): boolean {
  return blob.pieces.size === pieceCount(blob);
}

/** Bytes of a blob that are here. */
export function cachedBytes(blob: IndexedBlob): number {
  let sum = 0;
  for (const piece of blob.pieces) sum += pieceBytes(blob, piece);
  return sum;
}

/** A document's key is never a digest, whatever the repository is called. */
function documentKey(key: string): string {
  return `|${key}`;
}

function keyOf(entry: Indexed): string {
  return entry.kind === 'blob' ? entry.digest : documentKey(entry.key);
}
