import { createHmac, timingSafeEqual } from 'node:crypto';
import type { AccessRequest } from '../agent/gate.ts';
import type { Pool } from '../pools/pool.ts';

/**
 * The word of one proxy of a pool to another that it let a request pass: what it remembers of users while the origin is away, the others may never have
 * heard. Signed with what only they share, the pool's account at the origin.
 */
export interface ShardGrants {
  /** Value of `X-Pool-Shard` for this request. */
  give(request: AccessRequest): string;
  /** Whether such a value is the word of one of us about this very request. */
  verify(request: AccessRequest, value: string | undefined): boolean;
}

/** Long enough for clocks that differ. */
const validMs = 120_000;
/** Says only that it comes from another proxy, which is no right to anything. */
const plain = '1';

export function createShardGrants(
  { name, shards, origin }: Pool,
  now: () => number = Date.now,
): ShardGrants | undefined {
  if (shards.length === 0) return undefined;
  const { credential } = origin;
  if (credential === undefined) return { give: () => plain, verify: () => false };
  const key = createHmac('sha256', `${credential.username}:${credential.password}`)
    .update(`brickyard shards of ${name}`)
    .digest();
  const sign = ({ ns = '', repository, reference, kind }: AccessRequest, until: number): string => {
    const what = 'digest' in reference ? reference.digest : reference.tag;
    return createHmac('sha256', key).update([until, kind, ns, repository, what].join('|')).digest('hex');
  };
  return {
    give(request) {
      const until = now() + validMs;
      return `${until}.${sign(request, until)}`;
    },
    verify(request, value) {
      const [, until, signature] = /^([0-9]{1,15})\.([0-9a-f]{64})$/.exec(value ?? '') ?? [];
      if (until === undefined || signature === undefined) return false;
      const left = Number(until) - now();
      const wanted = sign(request, Number(until));
      return left > 0 && left <= 2 * validMs && timingSafeEqual(Buffer.from(signature), Buffer.from(wanted));
    },
  };
}
