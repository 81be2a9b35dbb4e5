import type { Pool } from '../pools/pool.ts';
import type { ClientPool, MirroredRegistry } from './client-setup.ts';

/** Certificates (PEM) that clients need; what the system knows by itself is left out. */
export interface ClientCertificates {
  readonly pool?: string;
  readonly origin?: string;
  /** By `ns`. */
  readonly upstreams?: Readonly<Record<string, string>>;
}

/** What nodes are told of a pool. */
export function clientPool(pool: Pool, certificates: ClientCertificates = {}): ClientPool {
  const endpoint = new URL(pool.endpoint);
  return {
    name: pool.name,
    endpoint: endpoint.origin,
    host: endpoint.host,
    plain: endpoint.protocol === 'http:',
    registries: [...originRegistries(pool, certificates), ...upstreamRegistries(pool, certificates)],
    ...(certificates.pool === undefined ? {} : { ca: certificates.pool }),
    p2p: pool.p2p.engine,
  };
}

function originRegistries(pool: Pool, { origin }: ClientCertificates): MirroredRegistry[] {
  const scheme = new URL(pool.origin.urls[0] ?? pool.endpoint).protocol;
  const servers = [...(pool.origin.names ?? []).map((name) => `${scheme}//${name}`), ...pool.origin.urls];
  const registries: MirroredRegistry[] = [];
  for (const server of servers) {
    const url = new URL(server);
    if (registries.some(({ host }) => host === url.host)) continue;
    registries.push({
      host: url.host,
      server: url.origin,
      kind: 'origin',
      ...(origin === undefined ? {} : { ca: origin }),
    });
  }
  return registries;
}

function upstreamRegistries(pool: Pool, { upstreams }: ClientCertificates): MirroredRegistry[] {
  return pool.upstreams.flatMap(({ ns, urls }): MirroredRegistry[] => {
    const [first] = urls;
    const ca = upstreams?.[ns];
    return first === undefined
      ? []
      : [
          {
            host: ns,
            server: new URL(first).origin,
            kind: 'upstream',
            ...(ca === undefined ? {} : { ca }),
          },
        ];
  });
}
