import { describe, expect, it } from 'vitest';
import {
  cachedBytes,
  createCacheIndex,
  type IndexedBlob,
  isWhole,
  pieceBytes,
} from '../../../../cache-proxy/embedded/cache-index.ts';
import { digestOf } from '../../../../oci/digest.ts';

const digest = digestOf('a');
const other = digestOf('b');
const never = (): boolean => false;
const document = {
  kind: 'manifest',
  key: 'm|team/app|x',
  repository: 'team/app',
  digest,
  bytes: 300,
  used: 3,
} as const;

describe('the index of a cache', () => {
  it('counts pieces and their bytes, the last one as short as it is', () => {
    const index = createCacheIndex();

    index.addPiece({ digest, size: 25, slice: 10, used: 1 }, 0);
    const blob = index.addPiece({ digest, size: 25, slice: 10, used: 1 }, 2);
    index.addPiece({ digest, size: 25, slice: 10, used: 1 }, 2);

    expect([index.bytes, index.entries, cachedBytes(blob), isWhole(blob)]).toEqual([15, 2, 15, false]);
    expect([0, 1, 2, 3].map((piece) => pieceBytes(blob, piece))).toEqual([10, 10, 5, 0]);
    index.addPiece({ digest, size: 25, slice: 10, used: 1 }, 1);
    expect([index.bytes, isWhole(blob)]).toEqual([25, true]);
  });

  it('forgets what is removed, and a blob without pieces', () => {
    const index = createCacheIndex();
    const blob = index.addPiece({ digest, size: 15, slice: 10, used: 1 }, 0);
    index.addPiece({ digest, size: 15, slice: 10, used: 1 }, 1);
    blob.verified = true;
    index.addDocument({ ...document });

    index.removePiece(blob, 0);
    expect([index.bytes, index.entries, blob.verified, blob.removals]).toEqual([305, 2, false, 1]);
    index.removePiece(blob, 1);
    index.remove(index.document(document.key) as IndexedBlob | typeof document);

    expect([index.bytes, index.entries, index.documents, index.blob(digest)]).toEqual([0, 0, 0, undefined]);
  });

  it('a document takes the place of the one with its key', () => {
    const index = createCacheIndex();

    index.addDocument({ ...document });
    index.addDocument({ ...document, bytes: 100 });

    expect([index.bytes, index.entries]).toEqual([100, 1]);
  });

  it('a document whose key reads like a digest is no blob', () => {
    const index = createCacheIndex();
    index.addDocument({ ...document, key: digest });

    expect([index.blob(digest), index.document(digest)?.bytes]).toEqual([undefined, 300]);
  });

  it('names the longest unused as the next to go, and whoever is busy last', () => {
    const index = createCacheIndex();
    const first = index.addPiece({ digest, size: 10, slice: 10, used: 1 }, 0);
    const second = index.addPiece({ digest: other, size: 10, slice: 10, used: 2 }, 0);

    expect(index.victim(never)).toBe(first);
    expect(index.victim((each) => each === digest)).toBe(second);
    expect(index.victim(() => true)).toBe(first);
    index.touch(first, 3);
    expect([index.victim(never), first.used]).toEqual([second, 3]);
    expect([...index.all()]).toEqual([second, first]);
  });

  it('what was removed cannot be touched back', () => {
    const index = createCacheIndex();
    const blob = index.addPiece({ digest, size: 10, slice: 10, used: 1 }, 0);
    index.remove(blob);

    index.touch(blob, 5);

    expect([index.entries, [...index.all()]]).toEqual([0, []]);
  });
});
