import type { Authorizer, Principal } from './authorizer.ts';

/** What a request may do, as decided from its credentials. A bearer token narrows what its principal could do otherwise. */
export interface Identity {
  readonly principal: Principal;
  /** Rights of this very request: the rules, cut down to the token's scopes where one was used. */
  readonly authorizer: Authorizer;
  /**
   * Where a token was used: the rules alone. Gives no right; tells whether another token would help.
   */
  readonly unscoped?: Authorizer;
}

export interface Authenticator {
  /** False in open mode: no challenge is ever sent. */
  readonly required: boolean;
  /**
   * `authorization` is the request's header. Without one the identity is anonymous (in open mode too).
   * `address` is the client's, to slow down whoever guesses passwords. Errors: InvalidCredentials, TooManyAttempts.
   */
  identify(authorization: string | undefined, address?: string): Promise<Identity>;
}

/** Wrong password, expired or forged token, unreadable header. Never says which. */
export class InvalidCredentials extends Error {
  override readonly name: string = 'InvalidCredentials';
}

/** Answered 429. It is an InvalidCredentials, so that whoever does not know it still refuses the request. */
export class TooManyAttempts extends InvalidCredentials {
  override readonly name = 'TooManyAttempts';
  /** Seconds until another attempt makes sense. */
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super('too many failed attempts to sign in');
    this.retryAfter = retryAfter;
  }
}
