import { isIP } from 'node:net';
import { originNames } from '../pools/name-space.ts';
import type { Pool } from '../pools/pool.ts';
import { parseHostPort, parseOrigin } from './grammar.ts';
import { httpBasics } from './http-basics.ts';
import { listener } from './listener.ts';
import { escaped, pathNames, poolLocations } from './pool-locations.ts';
import { poolLogFormat } from './pool-log.ts';
import { refusal } from './refusal.ts';
import type { Directive } from './render.ts';

/** What a configuration needs beside the pool: things of the machine that it runs on. */
export interface PoolRuntime {
  /** Short folder of sockets, the pid file and temporary files, absolute. */
  readonly run: string;
  /** `host:port` of the agent's listener. */
  readonly agent: string;
  /** System user of the worker processes where nginx is started as root. */
  readonly user?: string;
  /** How many files a worker may have open; default: what the process that starts nginx may. */
  readonly openFiles?: number;
  /** Of this configuration, which nginx answers with on `internal.sock`: so that it can be told when it is in force. */
  readonly generation: string;
}

/** Sockets in `run`. */
export const controlSocket = 'control.sock';
export const internalSocket = 'internal.sock';

/** The whole of a `nginx.conf`. The pool's values must have been checked, as `readPools` does. */
export function poolConfig(pool: Pool, runtime: PoolRuntime): Directive[] {
  const { run } = runtime;
  return [
    ...(runtime.user === undefined ? [] : ([['user', runtime.user]] as const)),
    ['worker_processes', 'auto'],
    ...(runtime.openFiles === undefined
      ? []
      : ([['worker_rlimit_nofile', String(runtime.openFiles)]] as const)),
    ['pid', `${run}/nginx.pid`],
    ['error_log', `${pool.folder}/error.log warn`],
    // Pulls under way end on the old workers after a reload.
    ['worker_shutdown_timeout', '15m'],
    ['events', '', [['worker_connections', '8192']]],
    ['http', '', http(pool, runtime)],
  ];
}

function http(pool: Pool, runtime: PoolRuntime): Directive[] {
  const { run } = runtime;
  return [
    ...httpBasics(run, 'application/json'),
    ['send_timeout', '5m'],
    ['client_max_body_size', '0'],
    ['log_format', poolLogFormat],
    // Not buffered: each worker would write its lines when its own buffer is full, and the agent could not tell what came first.
    ['access_log', `${pool.folder}/access.log pool`],
    ...cachePaths(pool),
    ...maps(pool),
    ...upstreams(pool, runtime),
    ['proxy_http_version', '1.1'],
    ['proxy_next_upstream', 'off'],
    [
      'proxy_ignore_headers',
      'Cache-Control Expires Set-Cookie Vary X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset',
    ],
    ['server', '', server(pool)],
    ['server', '', internalServer(runtime)],
  ];
}

/** Manifests are small and must not go because of one large layer: they have a part of their own. */
function cachePaths({ cache }: Pool): Directive[] {
  const manifests = Math.min(1024 ** 3, Math.max(16 * 1024 ** 2, Math.floor(cache.maxSize / 20)));
  const rest = Math.max(cache.slice, cache.maxSize - manifests);
  // nginx' own figure is 8,000 keys in a megabyte; half of that, as keys come and go.
  const keys = Math.min(2048, Math.max(16, Math.ceil(rest / cache.slice / 4000)));
  const path = (name: string, zone: string, size: number): Directive => [
    'proxy_cache_path',
    [
      `${cache.folder}/${name}`,
      'levels=1:2',
      `keys_zone=pool_${name}:${zone}`,
      `max_size=${size}`,
      ...(cache.minFree > 0 ? [`min_free=${cache.minFree}`] : []),
      `inactive=${Math.ceil(cache.inactive / 1000)}s`,
      'use_temp_path=off',
      'manager_files=1000 manager_threshold=1s manager_sleep=100ms',
    ].join(' '),
  ];
  return [path('blobs', `${keys}m`, rest), path('manifests', '16m', manifests)];
}

function maps(pool: Pool): Directive[] {
  return [
    // Only a path that means the same before and after nginx decoded it is one: no %, no empty part, no dots.
    [
      'map',
      '$request_uri $pool_path',
      [
        ['default', '-'],
        ['"~^(?:/(?![.][.]?(?:/|$|[?]))[A-Za-z0-9._~=+,@:-]+)*/?(?:[?].*)?$"', '+'],
      ],
    ],
    ['map', '"$arg_ns|$request_uri" $pool_ns', namesOf(pool)],
    [
      'map',
      '$pool_ns $pool_prefix',
      [
        ['default', '"$pool_ns/"'],
        ['""', '""'],
      ],
    ],
    [
      'map',
      '$request_uri $pool_kind',
      [
        ['default', 'other'],
        ['"~^/v2/[^?]+/blobs/sha[0-9]+:[0-9a-f]+(?:[?].*)?$"', 'blob'],
        ['"~^/v2/[^?]+/manifests/sha[0-9]+:[0-9a-f]+(?:[?].*)?$"', 'manifest'],
        ['"~^/v2/[^?]+/manifests/"', 'tag'],
      ],
    ],
    [
      'map',
      '$http_cache_control $pool_held',
      [
        ['default', '""'],
        ['"~*only-if-cached"', '1'],
      ],
    ],
    [
      'map',
      '"$request_method|$pool_ns|$pool_held|$http_x_pool_shard" $pool_blob_way',
      [
        ['default', 'refuse'],
        ['"~^GET[|][^|]*[|]1[|]"', 'held'],
        ...(pool.shards.length === 0 ? [] : ([['"~^GET[|][^|]*[|][|]$"', 'shard']] as const)),
        ['"~^GET[|]"', 'cached'],
        // Whether a blob is there before a push is the origin's own business; of other registries the pool is only a mirror.
        ['"~^HEAD[|][^|]"', 'cached'],
        ['"~^[A-Z]+[|][|]"', 'pass'],
      ],
    ],
    [
      'map',
      '"$request_method|$pool_ns" $pool_manifest_way',
      [
        ['default', 'refuse'],
        ['"~^(?:GET|HEAD)[|]"', 'cached'],
        ['"~^[A-Z]+[|]$"', 'pass'],
      ],
    ],
    [
      'map',
      '$pool_retry $pool_retry_after',
      [
        ['default', '5'],
        ['"~^[0-9]+$"', '$pool_retry'],
      ],
    ],
  ];
}

/**
 * Registries by the names that containerd gives them in `?ns=`, also as it escapes them, or by the first part of the path, as Docker and Podman write
 * them. Both at once would be two answers; any other name is none of ours.
 */
function namesOf(pool: Pool): Directive[] {
  const names = new Map<string, string>();
  for (const name of originNames(pool)) names.set(name, '""');
  for (const { ns } of pool.upstreams) names.set(ns, `"${ns}"`);
  const inPath = pathNames(pool);
  return [
    ['default', '-'],
    ...inPath.map((ns): Directive => [`"~^[|]/v2/${escaped(ns)}/"`, `"${ns}"`]),
    ...(inPath.length === 0 ? [] : ([[`"~[|]/v2/(?:${inPath.map(escaped).join('|')})/"`, '-']] as const)),
    ['"~^[|]"', '""'],
    ...[...names].flatMap(([name, value]): Directive[] => {
      const spellings = new Set([name, name.replaceAll(':', '%3A'), name.replaceAll(':', '%3a')]);
      return [...spellings].map((spelling): Directive => [`"~^${escaped(spelling)}[|]"`, value]);
    }),
  ];
}

function upstreams(pool: Pool, { run, agent }: PoolRuntime): Directive[] {
  const keepalive = (count: string): Directive[] => [
    ['keepalive', count],
    ['keepalive_timeout', '60s'],
    ['keepalive_requests', '1000000'],
  ];
  const shards: Directive[] = [
    // The same digest is the same proxy's everywhere, and most stay where they are when one comes or goes.
    ['hash', '$pool_digest consistent'],
    ...pool.shards.map(
      (shard): Directive => ['server', `${parseOrigin(shard)?.hostPort ?? ''} max_fails=1 fail_timeout=10s`],
    ),
    ...keepalive('32'),
  ];
  return [
    [
      'upstream',
      'pool_control',
      [['server', `unix:${run}/${controlSocket} max_fails=0`], ...keepalive('64')],
    ],
    ['upstream', 'pool_agent', [['server', `${agent} max_fails=0`], ...keepalive('16')]],
    ['upstream', 'pool_internal', [['server', `unix:${run}/${internalSocket} max_fails=0`]]],
    ...(pool.shards.length === 0 ? [] : ([['upstream', 'pool_shards', shards]] as const)),
  ];
}

function server(pool: Pool): Directive[] {
  return [
    ...listener(pool),
    ['server_name', '_'],
    ...mayCome(pool),
    ['recursive_error_pages', 'on'],
    [
      'if',
      '($pool_path = "-")',
      [['return', refusal(400, 'NAME_INVALID', 'this path is written in a way that no registry has')]],
    ],
    [
      'if',
      '($pool_ns = "-")',
      [['return', refusal(404, 'NAME_UNKNOWN', 'the pool is not in front of this registry')]],
    ],
    ...poolLocations(pool),
  ];
}

/** Networks of nodes; prewarming comes from this machine. */
function mayCome(pool: Pool): Directive[] {
  if (pool.nodes.cidrs.length === 0) return [];
  const own = [pool.listen, ...pool.shards.map((shard) => parseOrigin(shard)?.hostPort ?? '')]
    .map((address) => parseHostPort(address)?.host ?? '')
    .filter((host) => isIP(host) !== 0 && host !== '0.0.0.0' && host !== '::');
  const networks = new Set(['127.0.0.0/8', '::1', ...own, ...pool.nodes.cidrs]);
  return [...[...networks].map((network): Directive => ['allow', network]), ['deny', 'all']];
}

/** What the proxy asks itself. */
function internalServer({ run, generation }: PoolRuntime): Directive[] {
  return [
    ['listen', `unix:${run}/${internalSocket}`],
    ['access_log', 'off'],
    ['location', '= /generation', [['return', `200 '${generation}'`]]],
    // Stands in for a registry where only the cache may answer.
    ['location', '/', [['return', '504']]],
  ];
}
