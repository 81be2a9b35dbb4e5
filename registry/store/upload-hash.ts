import { createHash } from 'node:crypto';
import { createSHA256, createSHA512 } from 'hash-wasm';
import { type Digest, type DigestAlgorithm, digestHex, toDigest } from '../../oci/digest.ts';

/**
 * What a session remembers of the hash over its first `offset` bytes: a finished digest (native hashing, whose inner state
 * Node cannot save), or the state of a hash that can go on (WebAssembly, several times slower).
 */
export interface SavedHash {
  readonly algorithm: DigestAlgorithm;
  readonly offset: number;
  readonly digest?: Digest;
  /** Base64, 100 to 250 bytes. */
  readonly state?: string;
}

export interface UploadHash {
  update(chunk: Uint8Array): void;
  /** What can be kept in mid-stream; undefined for a native hash. */
  state(): SavedHash | undefined;
  /** What to keep at the end of a request. Ends a native hash. */
  finish(): SavedHash | undefined;
}

export interface NativeHash extends UploadHash {
  finish(): SavedHash & { readonly digest: Digest };
}

/** In hex, where it is what the hash came to: such a one begins with an upload's first byte. */
export function sha256Of(saved: SavedHash | undefined): string | undefined {
  return saved?.digest !== undefined && saved.algorithm === 'sha256' ? digestHex(saved.digest) : undefined;
}

/** For bytes whose beginning was not hashed. */
export const noHash: UploadHash = { update: () => {}, state: () => undefined, finish: () => undefined };

/** For bytes that come in one request: the fast way. */
export function createNativeHash(algorithm: DigestAlgorithm): NativeHash {
  const hash = createHash(algorithm);
  let offset = 0;
  return {
    update(chunk) {
      hash.update(chunk);
      offset += chunk.length;
    },
    state: () => undefined,
    finish: () => ({ algorithm, offset, digest: toDigest(algorithm, hash.digest('hex')) }),
  };
}

/** For bytes that come in many requests. `saved` is a state of the same algorithm to go on from. */
export async function createSavableHash(algorithm: DigestAlgorithm, saved?: SavedHash): Promise<UploadHash> {
  const hash = await createWasmHash(algorithm, saved?.state);
  let offset = saved?.offset ?? 0;
  const state = (): SavedHash => ({
    algorithm,
    offset,
    state: Buffer.from(hash.save()).toString('base64'),
  });
  return {
    update(chunk) {
      hash.update(chunk);
      offset += chunk.length;
    },
    state,
    finish: state,
  };
}

/** The digest of the first `offset` bytes; undefined when `saved` knows less, more, or another algorithm's. */
export async function digestFrom(
  saved: SavedHash | undefined,
  algorithm: DigestAlgorithm,
  offset: number,
): Promise<Digest | undefined> {
  if (saved === undefined || saved.offset !== offset || saved.algorithm !== algorithm) return undefined;
  if (saved.digest !== undefined) return saved.digest;
  return toDigest(algorithm, (await createWasmHash(algorithm, saved.state)).digest('hex'));
}

async function createWasmHash(algorithm: DigestAlgorithm, state: string | undefined) {
  const hash = algorithm === 'sha256' ? await createSHA256() : await createSHA512();
  if (state === undefined) hash.init();
  else hash.load(Buffer.from(state, 'base64'));
  return hash;
}
