import { createHmac, randomBytes } from 'node:crypto';
import { createBoundedCache } from '../bounded-cache.ts';
import type { AttemptLimiter } from './attempt-limiter.ts';
import { InvalidCredentials, TooManyAttempts } from './authenticator.ts';
import { type Bcrypt, BcryptBusy } from './bcrypt.ts';
import type { PasswordSource } from './password-file.ts';

export interface PasswordChecker {
  /** Resolves when `password` is the account's. Errors: InvalidCredentials, TooManyAttempts. */
  check(user: string, password: string, address?: string): Promise<void>;
}

export interface PasswordCheckerOptions {
  readonly passwords: PasswordSource;
  readonly bcrypt: Bcrypt;
  readonly attempts: AttemptLimiter;
  /** Seconds that a verified password needs no bcrypt; default 300. */
  readonly remember?: number;
}

/** A hash that no password is known for: an unknown account takes the time of a known one. */
function nobody(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${'CwTycUXWue0Thq9StjUM0u'}${'J8Vn1oVYh7tZ0s5Y1mJ3h0b8s1Qe5iG'}`;
}

/**
 * bcrypt takes 60 ms and docker sends the same password with each of its many requests, so verified passwords are
 * remembered: as an HMAC under a key that only this process's memory holds, over account, stored hash and password.
 * A changed or removed account is therefore never remembered.
 */
export function createPasswordChecker(options: PasswordCheckerOptions): PasswordChecker {
  const { passwords, bcrypt, attempts, remember = 300 } = options;
  const secret = randomBytes(32);
  const verified = createBoundedCache<string, true>(10_000, { ttl: remember * 1000 });
  const running = new Map<string, Promise<boolean>>();

  const compare = (key: string, password: string, hash: string): Promise<boolean> => {
    // Docker opens several connections at once with the same password: one computation answers all of them.
    const shared = running.get(key);
    if (shared !== undefined) return shared;
    const started = bcrypt.compare(password, hash).finally(() => running.delete(key));
    running.set(key, started);
    return started;
  };

  return {
    async check(user, password, address = '') {
      if (user.length > 256 || password === '' || Buffer.byteLength(password) > 1024) {
        throw new InvalidCredentials('unreadable credentials');
      }
      const hash = passwords.find(user);
      const key = createHmac('sha256', secret)
        .update(JSON.stringify([user, hash ?? '', password]))
        .digest('base64');
      if (hash !== undefined && verified.has(key)) return;
      const delay = attempts.delay(user, address);
      if (delay > 0) throw new TooManyAttempts(delay);
      let right: boolean;
      try {
        right = await compare(key, password, hash ?? nobody(passwords.cost()));
      } catch (error) {
        if (error instanceof BcryptBusy) throw new TooManyAttempts(1);
        throw error;
      }
      if (!right || hash === undefined) {
        attempts.failed(user, address);
        throw new InvalidCredentials('wrong name or password');
      }
      attempts.succeeded(user, address);
      verified.set(key, true);
    },
  };
}
