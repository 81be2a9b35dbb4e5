import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { PullRecord } from '../pull-record.ts';

/** Within so long nobody needs the same layer twice, unless what came was wrong. */
const soonMs = 10 * 60_000;
const rememberedPulls = 20_000;

/**
 * Clients check digests and say nothing: who had wrong bytes throws them away and asks again. `report` is called with the digest of a blob that one address
 * was sent whole from the cache a second time.
 */
export function watchRepeatedPulls(report: (digest: string) => void): (record: PullRecord) => void {
  const pulls = createBoundedCache<string, true>(rememberedPulls, { ttl: soonMs });
  return ({ side, kind, method, status, cache, digest, client, prewarm }) => {
    if (side !== 'client' || kind !== 'blob' || method !== 'GET' || status !== 200 || prewarm) return;
    if (digest === undefined || client === undefined) return;
    const key = `${client} ${digest}`;
    if (cache === 'hit' && pulls.has(key)) report(digest);
    pulls.set(key, true);
  };
}
