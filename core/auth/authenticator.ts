import type { Authorizer, Principal } from './authorizer.ts';

/** What a request may do, as decided from its credentials. A bearer token narrows what its principal could do otherwise. */
export interface Identity {
  readonly principal: Principal;
  /** Rights of this very request: the rules, cut down to the token's scopes where one was used. */
  readonly authorizer: Authorizer;
}

export interface Authenticator {
  /** False in open mode: no challenge is ever sent. */
  readonly required: boolean;
  /**
   * `authorization` is the request's header. Without one the identity is anonymous (in open mode too).
   * Errors: InvalidCredentials.
   */
  identify(authorization: string | undefined): Promise<Identity>;
}

/** Wrong password, expired or forged token, unreadable header. Never says which. */
export class InvalidCredentials extends Error {
  override readonly name = 'InvalidCredentials';
}
