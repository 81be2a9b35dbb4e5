import { bearerChallenge } from '../../core/auth/challenge.ts';
import { formatScope } from '../../oci/scope.ts';
import type { Pool } from '../pools/pool.ts';
import type { OriginChallenge } from './origin-profile.ts';

/**
 * WWW-Authenticate of the pool: the origin's, but tokens are fetched from the pool, which still has some when the origin has none. The same for `/v2/` and for
 * content: clients believe the first one they see. Undefined: the origin sends none.
 */
export function challengeOf(
  pool: Pick<Pool, 'endpoint'>,
  challenge: OriginChallenge,
  repository: string | undefined,
  error?: 'invalid_token' | 'insufficient_scope',
): string | undefined {
  if (challenge.scheme === 'none') return undefined;
  if (challenge.scheme === 'basic') return challenge.header;
  const scope =
    repository === undefined
      ? {}
      : { scope: formatScope({ type: 'repository', name: repository, actions: ['pull'] }) };
  return bearerChallenge({
    realm: `${pool.endpoint}/token`,
    service: challenge.service,
    ...scope,
    ...(error === undefined ? {} : { error }),
  });
}

/** How `grants.ts` tells people apart. */
export function credentialOf({
  user,
  password,
}: {
  readonly user: string;
  readonly password: string;
}): string {
  return JSON.stringify([user, password]);
}
