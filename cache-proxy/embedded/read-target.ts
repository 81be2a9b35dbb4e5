import { type Digest, isDigest } from '../../oci/digest.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import { resolveNamespace } from '../pools/name-space.ts';
import type { Pool, Upstream } from '../pools/pool.ts';

/** Whose content it is. */
export interface Place {
  /** Undefined: the pool's own origin. */
  readonly upstream?: Upstream;
  /** As the registry itself calls it. */
  readonly repository: string;
}

/** What a request is about, read from its path and from nothing else. */
export type Target =
  | (Place & { readonly kind: 'blob'; readonly digest: Digest })
  | (Place & { readonly kind: 'manifest'; readonly digest: Digest })
  | (Place & { readonly kind: 'tag'; readonly tag: string })
  /** The agent's: the challenge of the pool, and tokens. */
  | { readonly kind: 'agent' }
  /** The origin's, with the client's own Authorization. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'unknown' };

/**
 * Strict: a path is what clients write, or it is nobody's. Nothing is decoded and nothing is folded, so that two readers of one path can never take it for two
 * different things. Repositories, digests and tags need no percent; in passed paths it may stand for anything but slash, dot, backslash and control characters.
 */
export function readTarget(pool: Pool, url: string): Target {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (path === '/v2/' || path === '/v2' || path === '/token') return { kind: 'agent' };
  if (!path.startsWith('/v2/') || !clean.test(path) || path.includes('//')) return unknown;
  if (path.split('/').some((part) => part === '.' || part === '..')) return unknown;

  const [, name = '', kind, reference = ''] = content.exec(path) ?? [];
  if (kind === 'manifests' || (kind === 'blobs' && reference !== 'uploads')) {
    const place = placeOf(pool, name, mark < 0 ? '' : url.slice(mark + 1));
    if (place === undefined) return unknown;
    if (isDigest(reference))
      return { ...place, kind: kind === 'blobs' ? 'blob' : 'manifest', digest: reference };
    return kind === 'manifests' && isTag(reference) ? { ...place, kind: 'tag', tag: reference } : unknown;
  }
  if (path === '/v2/_catalog') return { kind: 'pass' };
  const passed = others.exec(path)?.[1];
  if (passed === undefined) return unknown;
  // Only the origin is written to and listed; what else is kept here is fetched and no more.
  const place = placeOf(pool, passed, mark < 0 ? '' : url.slice(mark + 1));
  return place === undefined || place.upstream !== undefined ? unknown : { kind: 'pass' };
}

const unknown: Target = { kind: 'unknown' };
const clean = /^(?:[A-Za-z0-9._~:@=+,-]|\/|%(?!2[ef]|5c|25|[01][0-9a-f]|7f)[0-9a-f]{2})+$/i;
const content = /^\/v2\/([a-z0-9._/-]+)\/(manifests|blobs)\/([A-Za-z0-9._:-]+)$/;
const others = /^\/v2\/([a-z0-9._/-]+)\/(?:tags\/list|referrers\/[a-z0-9:]+|blobs\/uploads(?:\/[^/]*)?)$/;

function placeOf(pool: Pool, name: string, query: string): Place | undefined {
  const asked = new URLSearchParams(query).getAll('ns');
  if (!isRepositoryName(name) || asked.length > 1) return undefined;
  const named = resolveNamespace(pool, asked[0], name);
  if (named.kind === 'foreign') return undefined;
  const { repository } = named;
  return named.kind === 'origin' ? { repository } : { repository, upstream: named.upstream };
}
