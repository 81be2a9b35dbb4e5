import type { Digest } from '../../oci/digest.ts';
import type { CacheStore } from './cache-store.ts';
import { type Changes, createChanges } from './changes.ts';
import type { PieceFill } from './piece-fill.ts';

/** A blob that somebody reads, fetches or compares right now. All who do share this. */
export interface OpenBlob {
  readonly digest: Digest;
  readonly slice: number;
  /** Undefined before anybody was told. */
  readonly size: number | undefined;
  /** What is under way, by piece. */
  readonly fills: Map<number, PieceFill>;
  /** A piece came, went, or is waited for. */
  readonly changes: Changes;
  /** It was purged: what is under way is finished, and not kept. */
  readonly dead: boolean;
  /** How the comparison with the digest ends that is under way. */
  comparison: Promise<Comparison> | undefined;
  /** So many wait for that: it must not wait for pieces that nobody fetches. */
  awaited: number;
  has(piece: number): boolean;
  /** Errors: another size than before: somebody sends something else. */
  setSize(size: number): void;
  readonly users: number;
  use(): () => void;
}

/** `unknown`: not all of it was here. */
export type Comparison = 'right' | 'wrong' | 'unknown';

export interface OpenBlobs {
  /** The caller says `use()` at once, and so ends it. */
  open(digest: Digest): OpenBlob;
  isOpen(digest: string): boolean;
  /** Whoever asks next begins anew. */
  detach(digest: string): void;
}

export function createOpenBlobs(store: () => CacheStore): OpenBlobs {
  const blobs = new Map<string, OpenBlob>();

  function create(digest: Digest): OpenBlob {
    const kept = store().blob(digest);
    let size = kept?.size;
    let users = 0;
    const blob: OpenBlob = {
      digest,
      slice: kept?.slice ?? store().limits.slice,
      get size() {
        return size;
      },
      fills: new Map(),
      changes: createChanges(),
      get dead() {
        return blobs.get(digest) !== blob;
      },
      comparison: undefined,
      awaited: 0,
      has: (piece) => !blob.dead && store().blob(digest)?.pieces.has(piece) === true,
      setSize(told) {
        if (size !== undefined && size !== told) {
          // One of the two was a lie. What nobody compared yet may be either.
          const former = store().blob(digest);
          if (former !== undefined && !former.verified) store().remove(former);
          if (!blob.dead) blobs.delete(digest);
          throw new Error('the blob has another size than before');
        }
        size = told;
        blob.changes.changed();
      },
      get users() {
        return users;
      },
      use() {
        users += 1;
        let using = true;
        return () => {
          if (!using) return;
          using = false;
          users -= 1;
          blob.changes.changed();
          if (users === 0 && blobs.get(digest) === blob) blobs.delete(digest);
        };
      },
    };
    return blob;
  }
  return {
    open(digest) {
      const found = blobs.get(digest) ?? create(digest);
      blobs.set(digest, found);
      return found;
    },
    isOpen: (digest) => blobs.has(digest),
    detach: (digest) => void blobs.delete(digest),
  };
}
