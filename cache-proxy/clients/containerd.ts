import type { ClientFile, ClientPool, ClientSetup, MirroredRegistry } from './client-setup.ts';
import { heading } from './heading.ts';
import { tomlText } from './toml-text.ts';

const folder = '/etc/containerd/certs.d';

/** Seconds; a proxy on the own network that does not take a connection by then is away. containerd before 2.1 does not know the key, and waits 30. */
const dialTimeout = '2s';

/** Where Dragonfly's client listens on each node. */
export const dragonflyMirror = 'http://127.0.0.1:4001';

/**
 * containerd's `hosts.toml`, one for each registry: the pool first, the registry itself when the pool cannot answer. It is read at every pull.
 * (containerd/docs/hosts.md)
 */
export function containerdSetup(pool: ClientPool): ClientSetup {
  return {
    client: 'containerd',
    files: [...pool.registries.flatMap((registry) => hostFiles(pool, registry)), ...ownFiles(pool)],
    merges: [],
    notes: [
      [
        'containerd (Kubernetes) reads these files when its config.toml says so; restart it only where this was missing:',
        'containerd 2, "version = 3":',
        '  [plugins."io.containerd.cri.v1.images".registry]',
        `    config_path = "${folder}"`,
        'containerd 1, "version = 2":',
        '  [plugins."io.containerd.grpc.v1.cri".registry]',
        `    config_path = "${folder}"`,
      ].join('\n'),
      `ctr reads them with: ctr images pull --hosts-dir ${folder} ${pool.registries[0]?.host ?? pool.host}/team/app:tag`,
    ],
  };
}

function hostFiles(pool: ClientPool, registry: MirroredRegistry): ClientFile[] {
  const place = `${folder}/${registry.host}`;
  const poolCa = `brickyard-pool-${pool.name}.pem`;
  const ownCa = `brickyard-origin-${pool.name}.pem`;
  const lines = [
    ...heading(
      pool,
      `images of ${registry.host} come from the pool; from ${registry.server} when it is away`,
    ),
    `server = ${tomlText(registry.server)}`,
    // With a hosts.toml containerd no longer looks for *.crt in this folder.
    ...(registry.ca === undefined ? [] : [`ca = ${tomlText(ownCa)}`]),
    '',
    // Only blobs go from node to node: Dragonfly hands everything else on to the pool, which says who may have what.
    ...(pool.p2p === 'dragonfly' ? host(dragonflyMirror, []) : []),
    ...host(pool.endpoint, pool.ca === undefined ? [] : [`  ca = ${tomlText(poolCa)}`]),
  ];
  return [
    { path: `${place}/hosts.toml`, content: lines.join('\n') },
    ...(pool.ca === undefined ? [] : [{ path: `${place}/${poolCa}`, content: pool.ca }]),
    ...(registry.ca === undefined ? [] : [{ path: `${place}/${ownCa}`, content: registry.ca }]),
  ];
}

/** For images that are called by the pool's own name, as Docker's users do: what containerd does not know of it by itself. */
function ownFiles(pool: ClientPool): ClientFile[] {
  if (pool.ca === undefined && !pool.plain) return [];
  const place = `${folder}/${pool.host}`;
  const poolCa = `brickyard-pool-${pool.name}.pem`;
  const lines = [
    ...heading(pool, "images that are called by the pool's own name"),
    `server = ${tomlText(pool.endpoint)}`,
    ...(pool.ca === undefined ? [] : [`ca = ${tomlText(poolCa)}`]),
    // Versions of containerd read the lines above only where there is a host, too (containerd/containerd#13212).
    '',
    `[host.${tomlText(pool.endpoint)}]`,
    '  capabilities = ["pull", "resolve", "push"]',
    ...(pool.ca === undefined ? [] : [`  ca = ${tomlText(poolCa)}`]),
    '',
  ];
  return [
    { path: `${place}/hosts.toml`, content: lines.join('\n') },
    ...(pool.ca === undefined ? [] : [{ path: `${place}/${poolCa}`, content: pool.ca }]),
  ];
}

function host(url: string, more: readonly string[]): string[] {
  return [
    `[host.${tomlText(url)}]`,
    // Never push: that is for the registry itself.
    '  capabilities = ["pull", "resolve"]',
    `  dial_timeout = ${tomlText(dialTimeout)}`,
    ...more,
    '',
  ];
}
