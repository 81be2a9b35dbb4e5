import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

/** A value that only the holder of its key can read, and only as what it was sealed for. */
export interface SealedValue {
  /** Which key sealed it. */
  readonly key: string;
  /** All base64. */
  readonly nonce: string;
  readonly data: string;
  readonly tag: string;
}

/** The keys that secrets are encrypted with; see `builder.secrets.key`. */
export interface Keyring {
  /** Name of the key that seals. */
  readonly current: string;
  /** Whether values of this key can be opened. */
  has(key: string): boolean;
  /** `context` is not encrypted, but the value can be opened only together with the same one. */
  seal(value: Uint8Array, context: string): SealedValue;
  /** Errors: KeyMissing, SealBroken. */
  open(sealed: SealedValue, context: string): Buffer;
  /** Tells equal values from others and nothing else to whoever has no key; 32 hex digits. */
  fingerprint(value: Uint8Array, context: string): string;
}

/** The value was sealed with a key that is no longer configured. */
export class KeyMissing extends Error {
  override readonly name = 'KeyMissing';
}

/** The value was changed, or belongs to something else. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken';
}

const keyBytes = 32;

/**
 * The keys of a setting: base64 of 32 bytes each, parted by blanks, commas or line ends; the first seals, all of them open. A text = what is wrong
 * with it, which does not repeat it.
 */
export function parseKeys(text: string): readonly Buffer[] | string {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  if (words.length === 0) return 'holds no key';
  const keys: Buffer[] = [];
  for (const [index, word] of words.entries()) {
    const key = Buffer.from(word, 'base64');
    const which = words.length === 1 ? 'the key' : `key ${index + 1} of ${words.length}`;
    if (key.length !== keyBytes || key.toString('base64').replace(/=+$/, '') !== word.replace(/=+$/, '')) {
      return `${which} is not base64 of ${keyBytes} bytes, as "openssl rand -base64 32" makes it`;
    }
    keys.push(key);
  }
  return keys;
}

/** Errors: RangeError for a text that `parseKeys` refuses. */
export function createKeyring(text: string): Keyring {
  const parsed = parseKeys(text);
  if (typeof parsed === 'string') throw new RangeError(parsed);
  const keys = parsed.map((key) => ({
    // Parts of one key with different uses never meet (RFC 5869).
    id: derive(key, 'id').toString('hex').slice(0, 16),
    encryption: derive(key, 'encryption'),
    fingerprints: derive(key, 'fingerprints'),
  }));
  const [current] = keys as [(typeof keys)[number]];

  return {
    current: current.id,
    has: (id) => keys.some((key) => key.id === id),
    seal(value, context) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', current.encryption, nonce);
      cipher.setAAD(Buffer.from(context));
      const data = Buffer.concat([cipher.update(value), cipher.final()]);
      return {
        key: current.id,
        nonce: nonce.toString('base64'),
        data: data.toString('base64'),
        tag: cipher.getAuthTag().toString('base64'),
      };
    },
    open(sealed, context) {
      const key = keys.find(({ id }) => id === sealed.key);
      if (key === undefined) throw new KeyMissing(`the key ${sealed.key} is not configured`);
      try {
        const nonce = Buffer.from(sealed.nonce, 'base64');
        // Without a length Node takes shorter tags, which are quickly guessed.
        const decipher = createDecipheriv('aes-256-gcm', key.encryption, nonce, { authTagLength: 16 });
        decipher.setAAD(Buffer.from(context));
        decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
        return Buffer.concat([decipher.update(Buffer.from(sealed.data, 'base64')), decipher.final()]);
      } catch (cause) {
        throw new SealBroken('the sealed value was changed, or belongs to something else', { cause });
      }
    },
    fingerprint(value, context) {
      const hmac = createHmac('sha256', current.fingerprints);
      return hmac.update(context).update('\0').update(value).digest('hex').slice(0, 32);
    },
  };
}

function derive(key: Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', `brickyard secrets ${use}`, keyBytes));
}
