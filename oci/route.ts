/**
 * Which end of the distribution-spec a path names. Pure: neither the name nor the reference is checked here, as a bad
 * one is an error with its own code, not an unknown path.
 */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: string }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: string };

export type RouteKind = Route['kind'];

/** How each kind is written in metrics and logs: never with the names in it. */
export const routePatterns: Readonly<Record<RouteKind, string>> = {
  base: '/v2/',
  catalog: '/v2/_catalog',
  blob: '/v2/<name>/blobs/<digest>',
  uploads: '/v2/<name>/blobs/uploads/',
  upload: '/v2/<name>/blobs/uploads/<session>',
  manifest: '/v2/<name>/manifests/<reference>',
  tags: '/v2/<name>/tags/list',
  referrers: '/v2/<name>/referrers/<digest>',
};

/**
 * `path` is the part of a request's target before `?`, still percent-encoded; it is decoded exactly once. Undefined = no such end.
 *
 * Read from its end, because a repository may be called `a/blobs/uploads` or `manifests`: what counts are the last
 * words, everything before them is the name.
 */
export function parseRoute(path: string): Route | undefined {
  const decoded = path.includes('%') ? decode(path) : path;
  if (decoded === undefined || !decoded.startsWith('/v2')) return undefined;
  if (decoded.length <= 4) return decoded === '/v2/' || decoded === '/v2' ? { kind: 'base' } : undefined;
  if (decoded.charCodeAt(3) !== slash) return undefined;
  if (decoded === '/v2/_catalog') return { kind: 'catalog' };

  const lastSlash = decoded.lastIndexOf('/');
  const wordSlash = decoded.lastIndexOf('/', lastSlash - 1);
  if (wordSlash <= 3) return undefined;
  const last = decoded.slice(lastSlash + 1);
  const before = decoded.slice(4, wordSlash);
  switch (decoded.slice(wordSlash + 1, lastSlash)) {
    case 'manifests':
      return { kind: 'manifest', repository: before, reference: last };
    case 'blobs':
      // The spec writes the end with a slash behind it; clients that leave it out mean the same.
      return last === 'uploads'
        ? { kind: 'uploads', repository: before }
        : { kind: 'blob', repository: before, digest: last };
    case 'uploads':
      if (!before.endsWith('/blobs')) return undefined;
      return last === ''
        ? { kind: 'uploads', repository: before.slice(0, -'/blobs'.length) }
        : { kind: 'upload', repository: before.slice(0, -'/blobs'.length), id: last };
    case 'tags':
      return last === 'list' ? { kind: 'tags', repository: before } : undefined;
    case 'referrers':
      return { kind: 'referrers', repository: before, digest: last };
    default:
      return undefined;
  }
}

/** The path of a route; the reverse of `parseRoute` for names and references that were checked. */
export function formatRoute(route: Route): string {
  switch (route.kind) {
    case 'base':
      return '/v2/';
    case 'catalog':
      return '/v2/_catalog';
    case 'blob':
      return `/v2/${route.repository}/blobs/${route.digest}`;
    case 'uploads':
      return `/v2/${route.repository}/blobs/uploads/`;
    case 'upload':
      return `/v2/${route.repository}/blobs/uploads/${route.id}`;
    case 'manifest':
      return `/v2/${route.repository}/manifests/${route.reference}`;
    case 'tags':
      return `/v2/${route.repository}/tags/list`;
    case 'referrers':
      return `/v2/${route.repository}/referrers/${route.digest}`;
  }
}

const slash = 0x2f;

function decode(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
