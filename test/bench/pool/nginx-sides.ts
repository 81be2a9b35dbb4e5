import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type PoolSide, type RunningSide, repository, type SideContext } from './side.ts';
import { untilReachable } from './until-reachable.ts';

const port = 5000;
/** Beside the proxy that it is compared with. */
const staticPort = 5001;

/**
 * The manual's example: a cache, and the lock switched on with its times as they are by themselves (5 s). The origin says `private, no-cache` of what
 * needs an account, so that has to be ignored for anything to be cached.
 */
export const nginxDefaults: PoolSide = {
  name: 'nginx, `proxy_cache_lock on`',
  start: (context) => startNginx(context, port, cachingServer(context, ['proxy_cache_lock on;'])),
};

/** As in rpardini/docker-registry-proxy: waiters wait long, but the lock itself still opens every five seconds. */
export const rpardiniLike: PoolSide = {
  name: 'nginx, rpardini-like (`lock_timeout 880s`)',
  start: (context) =>
    startNginx(
      context,
      port,
      cachingServer(context, [
        'proxy_cache_lock on;',
        'proxy_cache_lock_timeout 880s;',
        'proxy_cache_use_stale updating error timeout invalid_header http_500 http_502 http_503 http_504 http_429;',
        'proxy_cache_revalidate on;',
        'proxy_force_ranges on;',
      ]),
    ),
};

/** Nothing but files: what the same clients could reach at best here. */
export const staticFiles: PoolSide = {
  name: 'bare nginx, static files',
  async start(context) {
    const { image, folder } = context;
    const base = join(folder, 'root', 'v2', repository);
    await mkdir(join(base, 'blobs'), { recursive: true });
    await mkdir(join(base, 'manifests'));
    for (const { digest, file } of [...image.layers, image.config])
      await symlink(file, join(base, 'blobs', digest));
    for (const name of ['v1', image.manifest.digest]) {
      await symlink(join(image.folder, 'manifest.json'), join(base, 'manifests', name));
    }
    return startNginx(context, staticPort, [
      `root ${join(folder, 'root')};`,
      'location = /v2/ { return 200 "{}"; }',
      `location /v2/${repository}/manifests/ { types {} default_type ${image.manifest.mediaType}; }`,
      'location / { types {} default_type application/octet-stream; }',
    ]);
  },
};

function cachingServer({ origin }: SideContext, lock: readonly string[]): string[] {
  return [
    'location / {',
    `proxy_pass http://${origin.host};`,
    'proxy_set_header Host $http_host;',
    'proxy_cache bench;',
    'proxy_cache_valid 200 206 1d;',
    'proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;',
    ...lock,
    '}',
    // Tokens differ by who asks.
    `location /token { proxy_pass http://${origin.host}; proxy_set_header Host $http_host; }`,
    `location = /v2/ { proxy_pass http://${origin.host}; proxy_set_header Host $http_host; }`,
  ];
}

async function startNginx(
  { lab, origin, folder }: SideContext,
  listen: number,
  server: readonly string[],
): Promise<RunningSide> {
  const host = `${lab.pool.address}:${listen}`;
  const file = join(folder, 'nginx.conf');
  const bodies = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  await writeFile(
    file,
    [
      'user root;',
      'worker_processes auto;',
      `pid ${folder}/nginx.pid;`,
      'events { worker_connections 1024; }',
      'http {',
      'sendfile on; tcp_nopush on; access_log off;',
      ...bodies.map((name) => `${name}_temp_path ${folder}/${name}_temp;`),
      `proxy_cache_path ${folder}/cache levels=1:2 keys_zone=bench:10m max_size=20g inactive=60d;`,
      `server { listen ${host};`,
      ...server,
      '} }',
      '',
    ].join('\n'),
  );
  const nginx = await lab.pool.start('nginx', [
    '-p',
    folder,
    '-c',
    file,
    '-e',
    'stderr',
    '-g',
    'daemon off;',
  ]);
  await untilReachable(lab.pool, { url: `http://${host}/v2/`, what: 'nginx', program: nginx });
  return {
    host,
    account: origin.node,
    pid: nginx.pid,
    output: () => nginx.output(),
    stop: () => nginx.stop('SIGTERM'),
  };
}
