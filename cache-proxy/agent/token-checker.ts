import { decodeProtectedHeader, jwtVerify } from 'jose';
import type { Scope } from '../../oci/scope.ts';
import type { OriginProfile } from './origin-profile.ts';
import type { PoolKey } from './pool-key.ts';

export type CheckedToken =
  | {
      readonly kind: 'good';
      /** Of the pool's own, issued while the origin was away. */
      readonly local: boolean;
      /** Somebody in particular. */
      readonly named: boolean;
      readonly access: readonly Scope[];
      /** Milliseconds since 1970. */
      readonly issuedAt: number;
      readonly expires: number;
    }
  /** Forged, expired, or for somebody else. */
  | { readonly kind: 'bad' }
  /** Only the origin can say. */
  | { readonly kind: 'opaque' };

export interface TokenCheckerDeps {
  readonly profile: OriginProfile;
  readonly poolKey: PoolKey;
  readonly now?: () => number;
}

/** Seconds that the clocks of pool and origin may differ. */
const leeway = 15;
const maxLength = 16 * 1024;

/**
 * Reads a token by its signature, with nobody asked but for a key that was not seen yet. Whether it was taken back since is another question
 * (`live-tokens.ts`). Errors: OriginUnavailable: nobody knows its key.
 */
export function createTokenChecker({ profile, poolKey, now = Date.now }: TokenCheckerDeps) {
  return async (token: string): Promise<CheckedToken> => {
    if (token.length > maxLength) return { kind: 'bad' };
    // What is no JWT can only be right where the origin has tokens of another kind: then it publishes no keys.
    const kid = keyOf(token) ?? '';
    if (kid === poolKey.kid) {
      const own = await poolKey.verify(token);
      if (own === undefined) return { kind: 'bad' };
      return { kind: 'good', local: true, named: true, ...own, access: readAccess(own.access) };
    }
    const key = await profile.findKey(kid);
    if (key === 'opaque') return { kind: 'opaque' };
    const challenge = await profile.challenge();
    if (key === undefined || challenge.scheme !== 'bearer') return { kind: 'bad' };
    try {
      const { payload } = await jwtVerify(token, key.key, {
        algorithms: [key.algorithm],
        // A refresh token is signed by the same key and must not pull.
        typ: 'JWT',
        audience: challenge.service,
        currentDate: new Date(now()),
        clockTolerance: leeway,
        requiredClaims: ['exp'],
      });
      return {
        kind: 'good',
        local: false,
        named: typeof payload.sub === 'string' && payload.sub !== '',
        access: readAccess(payload['access']),
        issuedAt: (payload.iat ?? 0) * 1000,
        expires: ((payload.exp ?? 0) + leeway) * 1000,
      };
    } catch {
      return { kind: 'bad' };
    }
  };
}

/** Undefined for what is no JWT, or does not say who signed it. */
function keyOf(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token);
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}

/** The `access` claim of docker's token specification; what cannot be read grants nothing. */
function readAccess(claim: unknown): Scope[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: Partial<Scope> | null) =>
    typeof entry?.type === 'string' && typeof entry.name === 'string' && Array.isArray(entry.actions)
      ? [{ type: entry.type, name: entry.name, actions: entry.actions.map(String) }]
      : [],
  );
}
