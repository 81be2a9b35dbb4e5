import { UserError } from '../../core/user-error.ts';
import { isDigest } from '../../oci/digest.ts';
import { parseImageReference } from '../../oci/reference.ts';
import type { PurgeTarget } from '../pool-engine.ts';
import { originNames, resolveNamespace } from '../pools/name-space.ts';
import type { Pool } from '../pools/pool.ts';

/**
 * What somebody wants removed: `team/app:tag` (its cached answers; the next pull asks the origin), `team/app` (all tags and manifests of the repository),
 * `sha256:…` or `team/app@sha256:…` (the manifest or blob itself, in whatever repository). In front may stand the registry's name: the pool's endpoint and the
 * origin are the same, and an upstream's `ns` is another. Errors: UserError, which says what is understood.
 */
export function parsePurgeReference(text: string, pool: Pool): PurgeTarget {
  if (isDigest(text)) return { digest: text };
  const reference = parseImageReference(text);
  if (reference === undefined) {
    throw new UserError(
      `${JSON.stringify(text.slice(0, 300))} is no image: say team/app:tag, team/app@sha256:…, team/app, or sha256:…`,
      { exitCode: 2 },
    );
  }
  const { host, repository, tag, digest } = reference;
  if (digest !== undefined) return { digest };
  const named = resolveNamespace(pool, host, repository);
  if (named.kind === 'foreign') {
    const known = [...originNames(pool), ...pool.upstreams.map(({ ns }) => ns)].join(', ');
    throw new UserError(`the pool ${pool.name} caches nothing of ${host}; it knows ${known}`, {
      exitCode: 2,
    });
  }
  // As the cache's keys write it.
  const place = named.kind === 'upstream' ? `${named.upstream.ns}/${named.repository}` : named.repository;
  return { repository: place, ...(tag === undefined ? {} : { tag }) };
}
