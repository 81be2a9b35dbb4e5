import { createCipheriv, createHash } from 'node:crypto';

/** Bytes that do not compress and are the same on every machine: the keystream of AES-128-CTR under a key made of `seed`. */
export function* fixedBytes(seed: string, size: number): Generator<Buffer, void, undefined> {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(1024 * 1024);
  for (let left = size; left > 0; left -= zeros.length) {
    yield cipher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
  }
}
