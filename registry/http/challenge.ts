import { isRepositoryName } from '../../oci/reference.ts';
import type { Route } from '../../oci/route.ts';
import { formatScope } from '../../oci/scope.ts';

/**
 * The `WWW-Authenticate` of a 401: where to fetch a token, and for which scopes. Clients copy `scope` into their token
 * request, so it names exactly what this request needs.
 */
export function challenge(
  origin: string,
  service: string,
  scopes: readonly string[],
  error?: 'insufficient_scope' | 'invalid_token',
): string {
  const scope = scopes.length === 0 ? '' : `,scope="${scopes.join(' ')}"`;
  const reason = error === undefined ? '' : `,error="${error}"`;
  return `Bearer realm="${origin}/token",service="${service}"${scope}${reason}`;
}

/** The scopes that `method` on `route` needs. Names that are no repository names never get into a header. */
export function scopesFor(method: string | undefined, route: Route, mountFrom?: string): string[] {
  if (route.kind === 'base') return [];
  if (route.kind === 'catalog') return ['registry:catalog:*'];
  if (!isRepositoryName(route.repository)) return [];
  const scopes = [
    formatScope({ type: 'repository', name: route.repository, actions: actionsFor(method, route) }),
  ];
  // A mount reads from another repository as well; one token must be good for both.
  if (mountFrom !== undefined && isRepositoryName(mountFrom)) {
    scopes.push(formatScope({ type: 'repository', name: mountFrom, actions: ['pull'] }));
  }
  return scopes;
}

function actionsFor(method: string | undefined, route: Route): readonly string[] {
  if (route.kind === 'uploads' || route.kind === 'upload') return ['pull', 'push'];
  if (method === 'DELETE') return ['delete'];
  return method === 'GET' || method === 'HEAD' ? ['pull'] : ['pull', 'push'];
}
