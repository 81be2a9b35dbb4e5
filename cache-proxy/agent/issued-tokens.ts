import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** Who got which token through this pool: so that what is found out about a token is known of the person. */
export interface IssuedTokens {
  add(token: string, about: IssuedToken): void;
  find(token: string): IssuedToken | undefined;
}

export interface IssuedToken {
  /** As `grants.ts` knows it; in memory only. */
  readonly credential: string;
  /** Repositories that were asked to be pulled from. */
  readonly repositories: readonly string[];
}

export function createIssuedTokens(): IssuedTokens {
  const known = new LRUCache<string, IssuedToken>({
    maxSize: 4 * 1024 * 1024,
    sizeCalculation: ({ credential, repositories }) =>
      256 + credential.length * 2 + repositories.join().length,
  });
  const keyOf = (token: string): string => createHash('sha256').update(token).digest('base64');
  return {
    add: (token, about) => void known.set(keyOf(token), about),
    find: (token) => known.get(keyOf(token)),
  };
}
