import type { ClientPool, ClientSetup, MirroredRegistry } from './client-setup.ts';
import { heading } from './heading.ts';
import { tomlText } from './toml-text.ts';

/**
 * A drop-in of containers-registries.conf(5), which Podman, Buildah, Skopeo and CRI-O read: the pool is a mirror of each registry, which is asked
 * itself when the pool does not answer.
 */
export function podmanSetup(pool: ClientPool): ClientSetup {
  const lines = [
    ...heading(pool, 'images of these registries come from the pool; from themselves when it is away'),
    ...pool.registries.flatMap((registry) => ['', ...table(pool, registry)]),
    // For images that are called by the pool's own name.
    ...(pool.plain ? ['', '[[registry]]', `location = ${tomlText(pool.host)}`, 'insecure = true'] : []),
    '',
  ];
  return {
    client: 'podman',
    files: [
      { path: dropIn(pool), content: lines.join('\n') },
      ...(pool.ca === undefined
        ? []
        : [
            {
              path: `/etc/containers/certs.d/${pool.host}/brickyard-pool-${pool.name}.crt`,
              content: pool.ca,
            },
          ]),
    ],
    merges: [],
    notes: [
      `Podman sends the pool only what was given for its name: podman login ${pool.host} (the account of the registry). Without it ` +
        'private images come from the registry itself, and nothing says so; brickyard doctor --pool does.',
      'Podman reads the file at every pull; CRI-O at its start, or on: systemctl reload crio',
    ],
  };
}

/** Later names win in that folder, so that a file of the distribution's own does not. */
function dropIn(pool: ClientPool): string {
  return `/etc/containers/registries.conf.d/900-brickyard-pool-${pool.name}.conf`;
}

function table(pool: ClientPool, { host, server, kind }: MirroredRegistry): string[] {
  return [
    '[[registry]]',
    `prefix = ${tomlText(host)}`,
    `location = ${tomlText(host)}`,
    ...(server.startsWith('http:') ? ['insecure = true'] : []),
    '',
    '[[registry.mirror]]',
    // It does not say which registry it means (containerd does, with ?ns=), so the path says it.
    `location = ${tomlText(kind === 'origin' ? pool.host : `${pool.host}/${host}`)}`,
    ...(pool.plain ? ['insecure = true'] : []),
  ];
}
