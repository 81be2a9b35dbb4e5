import type { IncomingMessage } from 'node:http';
import type { FastifyPluginAsync } from 'fastify';
import type { ObjectStore } from '../object-store/object-store.ts';
import { type AccessRule, createAuthorizer, rulesWithoutRules } from './access-rules.ts';
import { createAttemptLimiter } from './attempt-limiter.ts';
import type { Authenticator } from './authenticator.ts';
import type { Authorizer } from './authorizer.ts';
import { createBcrypt } from './bcrypt.ts';
import { createAuthenticator } from './create-authenticator.ts';
import { createPasswordChecker } from './password-checker.ts';
import { createPasswordFile, type Warn } from './password-file.ts';
import { createSigningKeys, type SigningAlgorithm, type SigningKeys } from './signing-keys.ts';
import { createTokenRoutes } from './token-routes.ts';
import { createTokens, type Tokens } from './tokens.ts';

export interface AccountsOptions {
  /** Path of the htpasswd file. */
  readonly htpasswd: string;
  /** None = `rulesWithoutRules`. */
  readonly rules: readonly AccessRule[];
  readonly store: ObjectStore;
  /** Audience of tokens; the host of the public address, or `brickyard`. */
  readonly service: string;
  readonly algorithm?: SigningAlgorithm;
  /** Seconds an access token lives. */
  readonly ttl?: number;
  /** Seconds a refresh token lives; 0 = none. */
  readonly refreshTtl?: number;
  readonly warn?: Warn;
}

/** Everything that is needed to tell people apart, wired together. */
export interface Accounts {
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly tokens: Tokens;
  readonly keys: SigningKeys;
  /** `/token` and `/.well-known/jwks.json`; `address` is `ClientOrigin.address`. */
  tokenRoutes(address: (request: IncomingMessage) => string): FastifyPluginAsync;
  close(): Promise<void>;
}

/**
 * Resolves when the signing keys exist: every process reads or creates them before it answers, so that no process refuses a
 * token that another one has just issued. Errors: UserError (the htpasswd file), ObjectStoreUnavailable.
 */
export async function createAccounts(options: AccountsOptions): Promise<Accounts> {
  const { htpasswd, rules, store, service, algorithm, ttl, refreshTtl, warn } = options;
  const source = createPasswordFile({ file: htpasswd, ...(warn === undefined ? {} : { warn }) });
  const authorizer = createAuthorizer(rules.length === 0 ? rulesWithoutRules : rules);
  const keys = createSigningKeys({ store, ...(algorithm === undefined ? {} : { algorithm }) });
  const bcrypt = createBcrypt();
  const passwords = createPasswordChecker({ passwords: source, bcrypt, attempts: createAttemptLimiter() });
  const tokens = createTokens({
    keys,
    passwords: source,
    service,
    ...(ttl === undefined ? {} : { ttl }),
    ...(refreshTtl === undefined ? {} : { refreshTtl }),
  });
  await keys.current();
  return {
    authenticator: createAuthenticator({ passwords, tokens, authorizer }),
    authorizer,
    tokens,
    keys,
    tokenRoutes: (address) => createTokenRoutes({ passwords, tokens, keys, authorizer, address }),
    close: () => bcrypt.close(),
  };
}
