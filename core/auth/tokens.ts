import { createHash, randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { ObjectStoreUnavailable } from '../object-store/object-store.ts';
import { InvalidCredentials } from './authenticator.ts';
import { anonymous, type Principal } from './authorizer.ts';
import type { PasswordSource } from './password-file.ts';
import type { Scope } from './scope.ts';
import type { SigningKeys } from './signing-keys.ts';

export interface IssuedToken {
  readonly token: string;
  /** Seconds. */
  readonly expiresIn: number;
  readonly issuedAt: Date;
}

export interface VerifiedToken {
  readonly principal: Principal;
  readonly access: readonly Scope[];
}

/** Tokens of this service: JWTs as docker's token specification describes them. */
export interface Tokens {
  readonly service: string;
  issue(principal: Principal, access: readonly Scope[]): Promise<IssuedToken>;
  /** For POST /token with grant_type=refresh_token; lets nobody in anywhere else. Undefined when they are switched off. */
  issueRefresh(principal: Principal): Promise<string | undefined>;
  /** Errors: InvalidCredentials; ObjectStoreUnavailable. */
  verify(token: string): Promise<VerifiedToken>;
  /** Errors: InvalidCredentials; ObjectStoreUnavailable. */
  verifyRefresh(token: string): Promise<Principal>;
}

export interface TokensOptions {
  readonly keys: SigningKeys;
  readonly passwords: PasswordSource;
  /** Audience of tokens and `service` of challenges, e.g. `registry.example.com`. */
  readonly service: string;
  /** `iss`; default `service`. */
  readonly issuer?: string;
  /** Seconds an access token lives; default 900. */
  readonly ttl?: number;
  /** Seconds a refresh token lives; default 30 days; 0 = none are given. */
  readonly refreshTtl?: number;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
}

/** Seconds that clocks of replicas may differ. */
const leeway = 5;
const maxTokenLength = 16 * 1024;

interface Claims extends JWTPayload {
  readonly access?: unknown;
  /** Changes with the account's password, so that tokens from before are worth nothing. */
  readonly ver?: unknown;
}

interface Remembered {
  readonly subject: string;
  readonly version: unknown;
  readonly access: readonly Scope[];
  /** Seconds since 1970. */
  readonly expires: number;
}

type Kind = 'access' | 'refresh';

/** `typ` keeps the two kinds apart (RFC 8725 section 3.11): a refresh token must not pull. */
const headerType = { access: 'JWT', refresh: 'refresh+jwt' } as const;

export function createTokens(options: TokensOptions): Tokens {
  const { keys, passwords, service, issuer = service, ttl = 900, refreshTtl = 30 * 86_400 } = options;
  const now = options.now ?? Date.now;
  // By the size of the tokens that are the keys: about 4 MiB whatever clients send.
  const remembered = new LRUCache<string, Remembered>({
    maxSize: 4 * 1024 * 1024,
    sizeCalculation: (_value, token) => token.length * 2 + 512,
  });

  const sign = async (
    kind: Kind,
    principal: Principal,
    lifetime: number,
    claims: Claims,
  ): Promise<string> => {
    const key = await keys.current();
    const issuedAt = Math.floor(now() / 1000);
    const version = principal.anonymous ? undefined : accountVersion(passwords.find(principal.name));
    return new SignJWT({ ...claims, ...(version === undefined ? {} : { ver: version }) })
      .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: headerType[kind] })
      .setIssuer(issuer)
      .setSubject(principal.anonymous ? '' : principal.name)
      .setAudience(service)
      .setIssuedAt(issuedAt)
      .setNotBefore(issuedAt)
      .setExpirationTime(issuedAt + lifetime)
      .setJti(randomUUID())
      .sign(key.privateKey);
  };

  const check = async (kind: Kind, token: string): Promise<Remembered> => {
    const payload = await verifySignature(token, {
      keys,
      typ: headerType[kind],
      issuer,
      audience: service,
      currentDate: new Date(now()),
    });
    return {
      subject: payload.sub ?? '',
      version: payload.ver,
      access: readAccess(payload.access),
      expires: payload.exp ?? 0,
    };
  };

  /** Asked with every request: the account exists, and its password is the one from when the token was made. */
  const principalOf = (token: Remembered): Principal => {
    if (token.subject === '') return anonymous;
    const version = accountVersion(passwords.find(token.subject));
    if (version === undefined || version !== token.version) throw new InvalidCredentials('account changed');
    return { name: token.subject, anonymous: false };
  };

  return {
    service,
    async issue(principal, access) {
      const token = await sign('access', principal, ttl, { access });
      return { token, expiresIn: ttl, issuedAt: new Date(Math.floor(now() / 1000) * 1000) };
    },
    async issueRefresh(principal) {
      if (refreshTtl === 0 || principal.anonymous) return undefined;
      return sign('refresh', principal, refreshTtl, {});
    },
    async verify(token) {
      const known = remembered.get(token);
      const live = known !== undefined && known.expires + leeway > now() / 1000 ? known : undefined;
      const checked = live ?? (await check('access', token));
      if (live === undefined) remembered.set(token, checked);
      return { principal: principalOf(checked), access: checked.access };
    },
    async verifyRefresh(token) {
      const principal = principalOf(await check('refresh', token));
      if (principal.anonymous) throw new InvalidCredentials('a refresh token belongs to an account');
      return principal;
    },
  };
}

async function verifySignature(
  token: string,
  expected: { keys: SigningKeys; typ: string; issuer: string; audience: string; currentDate: Date },
): Promise<Claims> {
  if (token.length > maxTokenLength) throw new InvalidCredentials('token is too long');
  try {
    const { payload } = await jwtVerify<Claims>(
      token,
      async (header) => {
        // Only our own set is searched, and a key only ever verifies its own algorithm: a token can choose neither (CVE-2025-24976).
        const key = typeof header.kid === 'string' ? await expected.keys.find(header.kid) : undefined;
        if (key === undefined || key.algorithm !== header.alg) throw new InvalidCredentials('unknown key');
        return key.publicKey;
      },
      {
        algorithms: ['EdDSA', 'ES256'],
        typ: expected.typ,
        issuer: expected.issuer,
        audience: expected.audience,
        currentDate: expected.currentDate,
        clockTolerance: leeway,
        requiredClaims: ['sub', 'exp', 'nbf', 'iat'],
      },
    );
    return payload;
  } catch (error) {
    if (error instanceof ObjectStoreUnavailable || error instanceof InvalidCredentials) throw error;
    if (error instanceof errors.JOSEError || error instanceof TypeError) {
      throw new InvalidCredentials('token is not valid', { cause: error });
    }
    throw error;
  }
}

/** Eight bytes of a hash over the stored hash: tells that the password changed, and nothing about it. */
function accountVersion(hash: string | undefined): string | undefined {
  return hash === undefined
    ? undefined
    : createHash('sha256').update('brickyard account version\0').update(hash).digest('hex').slice(0, 16);
}

function readAccess(claim: unknown): Scope[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: Partial<Scope> | null) =>
    typeof entry?.type === 'string' && typeof entry.name === 'string' && Array.isArray(entry.actions)
      ? [{ type: entry.type, name: entry.name, actions: entry.actions.map(String) }]
      : [],
  );
}
