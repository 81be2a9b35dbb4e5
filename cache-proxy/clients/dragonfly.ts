import { stringify } from 'yaml';
import type { ClientFile, ClientPool } from './client-setup.ts';
import { heading } from './heading.ts';

export interface DragonflyOptions {
  /** `host:port` of Dragonfly's schedulers, as nodes reach them. */
  readonly schedulers: readonly string[];
  /** Bits per second that all nodes together may fetch from the pool at a time; each peer gets all of it, as Dragonfly knows no common limit. */
  readonly bitsPerSecond: number;
}

/**
 * Dragonfly behind the pool, in its deployment without manager and database (d7y.io, "Lightweight deployment"; field names as of its documentation of
 * August 2026, dragonflyoss/dragonfly@5523218). Only blobs go from node to node: manifests, tags and tokens are handed on to the pool, which
 * goes on deciding who may have an image, and is the only one that fetches over the slow link.
 */
export function dragonflyFiles(pool: ClientPool, options: DragonflyOptions): ClientFile[] {
  return [
    file(pool, '/etc/dragonfly/dfdaemon.yaml', 'every node', clientConfig(pool, options)),
    file(pool, '/etc/dragonfly/dynconfig.yaml', 'every node, and seeds', {
      scheduler: { addrs: options.schedulers },
    }),
    file(pool, '/etc/dragonfly/seed/dfdaemon.yaml', 'one to three seeds, best beside the pool', {
      ...clientConfig(pool, options),
      seedPeer: { enable: true, type: 'super' },
    }),
    file(pool, '/etc/dragonfly/scheduler/scheduler.yaml', 'the schedulers', {
      server: { port: Number(options.schedulers[0]?.split(':').at(-1) ?? 8002) },
      scheduler: { algorithm: 'default' },
      // Jobs are the manager's, and need Redis; there is none.
      job: { enable: false },
    }),
    file(pool, '/etc/dragonfly/scheduler/dynconfig.yaml', 'the schedulers', {
      schedulerClusterConfig: { candidateParentLimit: 4, filterParentLimit: 15 },
      seedPeerClusterConfig: { loadLimit: 2000 },
      schedulerClusterClientConfig: { loadLimit: 200 },
    }),
  ];
}

function clientConfig(pool: ClientPool, { bitsPerSecond }: DragonflyOptions): object {
  return {
    download: { protocol: 'tcp', backToSourceBandwidthLimit: megabytes(bitsPerSecond) },
    upload: { server: { port: 4000 } },
    scheduler: { announceInterval: '1m', maxScheduleCount: 5, enableBackToSource: true },
    storage: { dir: '/var/lib/dragonfly/', keep: true, server: { tcpPort: 4005, quicPort: 4006 } },
    gc: {
      interval: '900s',
      policy: { taskTTL: '6h', diskHighThresholdPercent: 80, diskLowThresholdPercent: 60 },
    },
    proxy: {
      // On loopback: whoever reaches this port gets blobs without being asked who he is.
      server: { ip: '127.0.0.1', port: 4001 },
      rules: [{ regex: 'blobs/sha256.*' }],
      registryMirror: {
        addr: pool.endpoint,
        // One copy per blob, whichever repository or registry it is pulled from.
        enableTaskIDBasedBlobDigest: true,
        ...(pool.ca === undefined ? {} : { cert: `/etc/dragonfly/brickyard-pool-${pool.name}.pem` }),
      },
      disableBackToSource: false,
      prefetch: false,
    },
    metrics: { server: { port: 4002 } },
  };
}

/** Dragonfly counts bytes. */
function megabytes(bitsPerSecond: number): string {
  return `${Math.max(1, Math.floor(bitsPerSecond / 8e6))}MB`;
}

function file(pool: ClientPool, path: string, where: string, content: object): ClientFile {
  return {
    path,
    content: `${heading(pool, `Dragonfly, ${where}`, ' --p2p dragonfly').join('\n')}\n${stringify(content)}`,
  };
}

/** What the files do not say. */
export function dragonflyNotes(pool: ClientPool, { schedulers }: DragonflyOptions): string[] {
  return [
    `schedulers (${schedulers.join(', ')}) and seeds run best on the machine of the pool or beside it; a seed has the dynconfig.yaml of nodes`,
    ...(pool.ca === undefined
      ? []
      : [
          `the pool's certificates must lie in /etc/dragonfly/brickyard-pool-${pool.name}.pem on nodes and seeds`,
        ]),
    `with p2p.engine: dragonfly in pools.yaml, "brickyard pool clients ${pool.name}" writes hosts.toml files that ask Dragonfly on the node first, then the pool`,
    'what one node of the pool may pull, all its peers hold: they hand blobs to each other without asking the pool. Keep a P2P network within one circle of trust',
  ];
}
