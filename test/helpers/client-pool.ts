import type { ClientPool } from '../../cache-proxy/clients/client-setup.ts';

/** A pool as clients know it: one origin, one upstream, everything over TLS that the system knows. */
export function makeClientPool(changes: Partial<ClientPool> = {}): ClientPool {
  return {
    name: 'hz1',
    endpoint: 'https://hz1.test',
    host: 'hz1.test',
    plain: false,
    registries: [
      { host: 'registry.test:5000', server: 'https://registry.test:5000', kind: 'origin' },
      { host: 'docker.io', server: 'https://registry-1.docker.io', kind: 'upstream' },
    ],
    p2p: 'none',
    ...changes,
  };
}

export const testPem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
