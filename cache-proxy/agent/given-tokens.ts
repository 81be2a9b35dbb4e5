import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { isObject } from '../../oci/client/answers.ts';

/**
 * Tokens of the origin that this process fetched for clients, to be given again to whoever asks the very same with the very same password while the line
 * crawls. Nobody can do more with one than with the first copy, which he could have kept until it expires: each use of a token asks the gate, which
 * hears every ten seconds which are void. In memory only, under a hash that means nothing outside of this process.
 */
export interface GivenTokens {
  /** `believed`: milliseconds for which it may be given again, at most half of the time that it says it lives. */
  add(asked: AskedToken, body: Buffer, believed: number): void;
  /** The body of an answer, with the time that is left; `aging`: the next one should be fetched. Undefined: the origin has to be asked. */
  find(
    asked: AskedToken,
  ): { readonly body: Buffer; readonly token: string; readonly aging: boolean } | undefined;
  /** The origin refused it something, or called a token of it void: nothing is given to it before the origin was asked. */
  forget(credential: string): void;
}

export interface AskedToken {
  readonly credential: string;
  /** Everything else that the request said. */
  readonly wish: string;
}

interface Given {
  /** Hash of the credential. */
  readonly owner: string;
  readonly fields: Record<string, unknown>;
  readonly token: string;
  readonly at: number;
  readonly lives: number;
  readonly believed: number;
}

const maxBytes = 8 * 1024 * 1024;
/** Seconds, where an answer does not say: docker's token specification. */
const unsaidLife = 60;

export function createGivenTokens(now: () => number = Date.now): GivenTokens {
  const secret = randomBytes(32);
  const hash = (...parts: string[]): string =>
    createHmac('sha256', secret).update(JSON.stringify(parts)).digest('base64');
  const keyOf = ({ credential, wish }: AskedToken): string => hash(credential, wish);
  const given = new LRUCache<string, Given>({
    maxSize: maxBytes,
    sizeCalculation: ({ fields }) => JSON.stringify(fields).length * 2 + 512,
  });

  return {
    add(asked, body, believed) {
      const fields = readFields(body);
      const token = fields === undefined ? undefined : tokenOf(fields);
      if (fields === undefined || token === undefined) return;
      const said = Number(fields['expires_in'] ?? unsaidLife);
      const lives = (Number.isFinite(said) && said > 0 ? said : 0) * 1000;
      given.set(keyOf(asked), {
        owner: hash(asked.credential),
        fields,
        token,
        at: now(),
        lives,
        believed: Math.min(believed, lives / 2),
      });
    },
    find(asked) {
      const found = given.get(keyOf(asked));
      if (found === undefined) return undefined;
      const age = now() - found.at;
      if (age >= found.believed) return undefined;
      const left = {
        ...found.fields,
        expires_in: Math.floor((found.lives - age) / 1000),
        issued_at: new Date(now()).toISOString(),
      };
      return {
        body: Buffer.from(JSON.stringify(left)),
        token: found.token,
        aging: age >= found.believed / 2,
      };
    },
    forget(credential) {
      const owner = hash(credential);
      for (const [key, each] of given.entries()) if (each.owner === owner) given.delete(key);
    },
  };
}

/** The token in an answer of docker's token specification, under either of its names. */
export function tokenIn(body: Buffer): string | undefined {
  const fields = readFields(body);
  return fields === undefined ? undefined : tokenOf(fields);
}

function readFields(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function tokenOf(fields: Record<string, unknown>): string | undefined {
  const token = fields['token'] ?? fields['access_token'];
  return typeof token === 'string' && token !== '' ? token : undefined;
}
