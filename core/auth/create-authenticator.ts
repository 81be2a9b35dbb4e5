import type { Authenticator, Identity } from './authenticator.ts';
import { type Authorizer, anonymous, openAuthorizer } from './authorizer.ts';
import { parseAuthorization } from './credentials.ts';
import type { PasswordChecker } from './password-checker.ts';
import { withinScopes } from './scope.ts';
import type { Tokens } from './tokens.ts';

export interface AuthenticatorOptions {
  readonly passwords: PasswordChecker;
  readonly tokens: Tokens;
  readonly authorizer: Authorizer;
}

/** Basic and Bearer. */
export function createAuthenticator({ passwords, tokens, authorizer }: AuthenticatorOptions): Authenticator {
  const nobody: Identity = { principal: anonymous, authorizer };
  return {
    required: true,
    async identify(authorization, address) {
      if (authorization === undefined) return nobody;
      const credentials = parseAuthorization(authorization);
      if (credentials.kind === 'bearer') {
        const { principal, access } = await tokens.verify(credentials.token);
        return { principal, authorizer: withinScopes(authorizer, access), unscoped: authorizer };
      }
      await passwords.check(credentials.user, credentials.password, address);
      return { principal: { name: credentials.user, anonymous: false }, authorizer };
    },
  };
}

/** Open mode: whatever credentials a client sends are not looked at, as there is nothing to compare them with. */
export function createOpenAuthenticator(): Authenticator {
  const everybody: Identity = { principal: anonymous, authorizer: openAuthorizer };
  return { required: false, identify: () => Promise.resolve(everybody) };
}
