import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { Scope } from '../../oci/scope.ts';
import type { PrivateFile } from './private-file.ts';

/** Tokens of the pool itself, for the time in which the origin can issue none. Nobody but this pool accepts them. */
export interface PoolKey {
  /** Names the key in a token's header, apart from all of the origin's. */
  readonly kid: string;
  /** Seconds that its tokens live. */
  readonly lifetime: number;
  issue(access: readonly Scope[]): Promise<string>;
  /** Undefined for anything but a token of this pool that still lives. `issuedAt` in milliseconds since 1970. */
  verify(token: string): Promise<{ access: unknown; issuedAt: number; expires: number } | undefined>;
}

/** The least that docker takes a token to live: it would use a shorter one for as long. */
const lifetime = 60;

/** Errors: those of reading or writing the file; one that holds no key. */
export function createPoolKey(pool: string, file: PrivateFile, now: () => number = Date.now): PoolKey {
  const privateKey = loadKey(file);
  const publicKey = createPublicKey(privateKey);
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const kid = `pool-${createHash('sha256').update(der).digest('hex').slice(0, 24)}`;
  const name = `brickyard pool ${pool}`;
  return {
    kid,
    lifetime,
    issue(access) {
      const seconds = Math.floor(now() / 1000);
      return new SignJWT({ access })
        .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'JWT' })
        .setIssuer(name)
        .setAudience(name)
        .setSubject('')
        .setIssuedAt(seconds)
        .setExpirationTime(seconds + lifetime)
        .sign(privateKey);
    },
    async verify(token) {
      try {
        const { payload } = await jwtVerify(token, publicKey, {
          algorithms: ['EdDSA'],
          typ: 'JWT',
          issuer: name,
          audience: name,
          currentDate: new Date(now()),
          requiredClaims: ['exp', 'iat'],
        });
        const { access, iat = 0, exp = 0 } = payload;
        return { access, issuedAt: iat * 1000, expires: exp * 1000 };
      } catch {
        return undefined;
      }
    },
  };
}

function loadKey(file: PrivateFile): KeyObject {
  const stored = file.read();
  if (stored !== undefined) return createPrivateKey(stored);
  const { privateKey } = generateKeyPairSync('ed25519');
  file.write(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  return privateKey;
}
