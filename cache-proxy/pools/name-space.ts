import type { Pool, Upstream } from './pool.ts';

/** Which registry a request is about, and the repository's name there. */
export type NamedRepository =
  | { readonly kind: 'origin'; readonly repository: string }
  | { readonly kind: 'upstream'; readonly upstream: Upstream; readonly repository: string }
  /** A registry that the pool does not stand for: to be answered as unknown (404), or another registry's image of the same name would be served. */
  | { readonly kind: 'foreign' };

/**
 * containerd says with `?ns=<host>` which registry it means, the origin's own name included. Podman and Docker cannot: they ask for
 * `<ns>/<repository>`, as in `pool.example.com/docker.io/library/nginx`, which is the upstream `docker.io` wherever the pool has one.
 */
export function resolveNamespace(pool: Pool, ns: string | undefined, repository: string): NamedRepository {
  if (ns !== undefined && ns !== '') {
    const upstream = pool.upstreams.find((each) => each.ns === ns);
    if (upstream !== undefined) return { kind: 'upstream', upstream, repository };
    return originNames(pool).includes(ns) ? { kind: 'origin', repository } : { kind: 'foreign' };
  }
  for (const upstream of pool.upstreams) {
    const prefix = `${upstream.ns}/`;
    if (repository.startsWith(prefix)) {
      return { kind: 'upstream', upstream, repository: repository.slice(prefix.length) };
    }
  }
  return { kind: 'origin', repository };
}

/** What `?ns=` may say for the pool's own origin: `host[:port]`, with and without the scheme's own port. */
export function originNames(pool: Pool): readonly string[] {
  const names = pool.origin.names ?? [];
  const written = [
    ...names.flatMap((name) => [`https://${name}`, `http://${name}`]),
    ...pool.origin.urls,
    pool.endpoint,
  ];
  return [...new Set([...names, ...written.flatMap(hostsOf)])];
}

function hostsOf(url: string): readonly string[] {
  if (!URL.canParse(url)) return [];
  const { protocol, hostname, port, host } = new URL(url);
  if (port !== '') return [host];
  return [hostname, `${hostname}:${protocol === 'http:' ? 80 : 443}`];
}
