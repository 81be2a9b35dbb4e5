import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Digest, toDigest } from '../../oci/digest.ts';

/** Numbers that the same seed always gives again. */
export interface Random {
  /** At least 0, less than `limit`; whole. */
  below(limit: number): number;
  /** Whole, both ends included. */
  between(low: number, high: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** Another sequence of its own, that depends on the seed and on `name` alone. */
  fork(name: string): Random;
}

/** Mulberry32 over a hashed seed: enough to choose with, and the same on every machine. */
export function createRandom(seed: string): Random {
  let state = createHash('sha256').update(seed).digest().readUInt32LE(0);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    between: (low, high) => low + below(high - low + 1),
    chance: (probability) => next() < probability,
    pick(items) {
      if (items.length === 0) throw new Error('nothing to pick from');
      return items[below(items.length)] as (typeof items)[number];
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  };
}

/** Bytes that need not be kept to be compared later: `name` and `size` make them again. */
export interface Content {
  readonly name: string;
  readonly size: number;
  readonly digest: Digest;
  bytes(start?: number, end?: number): Buffer;
  /** From `start` on, in pieces. */
  stream(start?: number, piece?: number): Readable;
}

const blockSize = 1024 * 1024;
let block: Buffer | undefined;

/** The content `name` of `size` bytes: its SHA-256 again and again, over one block that does not compress. */
export function createContent(name: string, size: number): Content {
  const stamp = createHash('sha256').update(name).digest();
  const bytes = (start = 0, end = size): Buffer => {
    const result = Buffer.allocUnsafe(Math.max(0, end - start));
    for (let at = start; at < end; ) {
      const source = stampedBlock(stamp);
      const from = at % blockSize;
      at += source.copy(result, at - start, from, Math.min(blockSize, from + end - at));
    }
    return result;
  };
  function* pieces(start: number, piece: number): Generator<Buffer> {
    for (let at = start; at < size; at += piece) yield bytes(at, Math.min(size, at + piece));
  }
  let digest: Digest | undefined;
  return {
    name,
    size,
    get digest() {
      if (digest === undefined) {
        const hash = createHash('sha256');
        for (const piece of pieces(0, blockSize)) hash.update(piece);
        digest = toDigest('sha256', hash.digest('hex'));
      }
      return digest;
    },
    bytes,
    stream: (start = 0, piece = 64 * 1024) => Readable.from(pieces(start, piece), { objectMode: false }),
  };
}

function stampedBlock(stamp: Buffer): Buffer {
  if (block === undefined) {
    block = Buffer.alloc(blockSize);
    for (let at = 0; at < blockSize; at += 32)
      createHash('sha256').update(String(at)).digest().copy(block, at);
  }
  stamp.copy(block, 0);
  return block;
}
