import { createHash, type Hash } from 'node:crypto';
import { OciError } from './errors.ts';

/** A digest that was checked on entry: `sha256:` + 64 or `sha512:` + 128 lower-case hex digits. */
export type Digest = string & { readonly __brand: 'Digest' };

export type DigestAlgorithm = 'sha256' | 'sha512';

const hexLength: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };

/** image-spec "Digests": only the registered algorithms sha256 and sha512, in their canonical spelling. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, colon);
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return false;
  const hex = text.slice(colon + 1);
  return hex.length === hexLength[algorithm] && /^[0-9a-f]+$/.test(hex);
}

/** Errors: DIGEST_INVALID. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new OciError('DIGEST_INVALID', { message: `not a digest: ${quote(text)}` });
  return text;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return toDigest(algorithm, createHash(algorithm).update(bytes).digest('hex'));
}

/** Ends `hash` and names its result. */
export function digestOfHash(algorithm: DigestAlgorithm, hash: Hash): Digest {
  return toDigest(algorithm, hash.digest('hex'));
}

export function toDigest(algorithm: DigestAlgorithm, hex: string): Digest {
  return parseDigest(`${algorithm}:${hex}`);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
