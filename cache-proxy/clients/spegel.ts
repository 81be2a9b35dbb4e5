import { stringify } from 'yaml';
import type { ClientFile, ClientPool } from './client-setup.ts';
import { heading } from './heading.ts';

/**
 * Values for Spegel's Helm chart (field names as of spegel-org/spegel@031e26b): nodes ask each other for what containerd has already, then the pool.
 * Tags are never resolved from peers, so that the pool goes on deciding who may have an image and what a tag means now.
 */
export function spegelFiles(pool: ClientPool): ClientFile[] {
  const values = {
    spegel: {
      // Empty would mean all registries, and Spegel keeps no hosts.toml of others.
      mirroredRegistries: pool.registries.map(({ host, server }) =>
        server.startsWith('http:') ? `http://${host}` : `https://${host}`,
      ),
      // The pool's own hosts.toml files stay below what Spegel writes. Its additionalMirrorTargets would get Spegel's capabilities, which
      // without resolveTags do not let the pool resolve tags either.
      prependExisting: true,
      additionalMirrorTargets: [],
      resolveTags: false,
      containerdRegistryConfigPath: '/etc/containerd/certs.d',
    },
  };
  return [
    {
      path: 'spegel-values.yaml',
      content: `${heading(pool, 'Spegel, values of its Helm chart', ' --p2p spegel').join('\n')}\n${stringify(values)}`,
    },
  ];
}

export function spegelNotes(pool: ClientPool): string[] {
  return [
    `first the pool's own files on all nodes (brickyard pool clients ${pool.name} --for kubernetes | kubectl apply -f -), then helm upgrade --install spegel … -f spegel-values.yaml`,
    'containerd must keep the layers as they were pulled: discard_unpacked_layers = false, in [plugins."io.containerd.cri.v1.images"] of containerd 2 and ' +
      '[plugins."io.containerd.grpc.v1.cri".containerd] of containerd 1',
    ...(pool.registries.some(({ ca }) => ca !== undefined)
      ? [
          'Spegel drops the registry\'s own "ca" from hosts.toml: its certificates must be known to the node\'s system for pulls while the pool is away',
        ]
      : []),
    'peers hand blobs to each other without asking the pool who may have them: within one circle of trust only',
  ];
}
