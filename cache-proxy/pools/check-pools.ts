import { BlockList, isIP } from 'node:net';
import { resolve } from 'node:path';
import { compileRepositoryGlob } from '../../core/auth/repository-glob.ts';
import type { DocumentFault, DocumentPath, SourceDocument } from '../../core/document/document.ts';
import { suggest } from '../../core/document/suggest.ts';
import { type NginxValue, nginxValues, parseHostPort, parseOrigin } from '../nginx/grammar.ts';
import { defaultSlice, parsePoolSize, parseTimeWindow } from './pool-values.ts';
import type { PoolEntry } from './pools-schema.ts';

type Wrong = (path: DocumentPath, message: string, hint?: string) => void;

/** What the schema cannot say, of values that fit it. `folder`: where relative paths start. */
export function checkPools(
  document: SourceDocument,
  pools: readonly PoolEntry[],
  folder: string,
): DocumentFault[] {
  const faults: DocumentFault[] = [];
  for (const [index, pool] of pools.entries()) {
    const wrong: Wrong = (path, message, hint) =>
      void faults.push(
        document.fault(['pools', index, ...path], {
          code: 'E014',
          message,
          ...(hint === undefined ? {} : { hint }),
        }),
      );
    if (pools.findIndex(({ name }) => name === pool.name) !== index) {
      wrong(['name'], `"${pool.name}" names two pools`);
    }
    checkListener(pool, wrong);
    checkPaths(pool, folder, wrong);
    checkOrigins(pool, wrong);
    checkPeers(pool, pools, wrong);
    checkLimits(pool, wrong);
    checkPatterns(pool, wrong);
  }
  return faults;
}

/** What `listen` is where only `endpoint` says it. */
export function listenOf({ listen, endpoint }: Pick<PoolEntry, 'listen' | 'endpoint'>): string | undefined {
  if (listen !== undefined) return listen;
  const parsed = endpoint === undefined ? undefined : parseHostPort(parseOrigin(endpoint)?.hostPort ?? '');
  if (parsed === undefined) return undefined;
  const { host, port } = parsed;
  if (host === 'localhost') return `127.0.0.1:${port}`;
  return isIP(host) === 0 ? `0.0.0.0:${port}` : `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function checkListener(pool: PoolEntry, wrong: Wrong): void {
  const { endpoint, tls, allowPlain = false } = pool;
  const origin = endpoint === undefined ? undefined : checkOrigin(endpoint, ['endpoint'], wrong);
  const listen = listenOf(pool);
  if (listen === undefined) {
    if (endpoint === undefined) wrong([], 'one of the keys "listen" and "endpoint" is missing');
    return;
  }
  if (pool.listen !== undefined && !fits(listen, nginxValues.listen, ['listen'], wrong)) return;
  const { host = '', port = 0 } = parseHostPort(listen) ?? {};
  if (endpoint === undefined && ['0.0.0.0', '::'].includes(host)) {
    wrong(
      ['listen'],
      'is every address of this machine, so nodes need a name',
      `add endpoint: ${tls === undefined ? 'http' : 'https'}://HOST:${port}`,
    );
  }
  if (tls !== undefined && origin?.scheme === 'http') {
    wrong(['endpoint'], 'is http://, but the proxy speaks TLS', 'write https://');
  }
  if (tls === undefined && !allowPlain && !isLoopback(host)) {
    wrong(
      [pool.listen === undefined ? 'endpoint' : 'listen'],
      `${listen} can be reached by other machines: passwords and images would pass readable`,
      'give tls, or allowPlain: true where the network is trusted',
    );
  }
  const agent = pool.agent?.listen;
  if (agent !== undefined && fits(agent, nginxValues.listen, ['agent', 'listen'], wrong)) {
    if (agent === listen) wrong(['agent', 'listen'], 'is where the proxy itself listens');
  }
}

function checkPaths(pool: PoolEntry, folder: string, wrong: Wrong): void {
  const paths: readonly (readonly [DocumentPath, string | undefined])[] = [
    [['folder'], pool.folder],
    [['cache', 'dir'], pool.cache?.dir],
    [['tls', 'cert'], pool.tls?.cert],
    [['tls', 'key'], pool.tls?.key],
    [['origin', 'ca'], pool.origin.ca],
    ...(pool.upstreams ?? []).map(({ ca }, index) => [['upstreams', index, 'ca'], ca] as const),
  ];
  for (const [path, value] of paths) {
    if (value !== undefined) fits(resolve(folder, value), nginxValues.path, path, wrong);
  }
}

function checkOrigins(pool: PoolEntry, wrong: Wrong): void {
  const { origin, upstreams = [], allowPlain = false } = pool;
  const check = (text: string, path: DocumentPath): void => {
    const parsed = checkOrigin(text, path, wrong);
    if (parsed === undefined) return;
    const { scheme, hostPort } = parsed;
    const host = parseHostPort(hostPort)?.host ?? '';
    if (scheme === 'http' && !allowPlain && host !== 'localhost' && !isLoopback(host)) {
      wrong(
        path,
        'is plain HTTP to another machine: passwords and images would pass readable',
        'write https://, or allowPlain: true where the network is trusted',
      );
    }
  };
  for (const [index, url] of origin.urls.entries()) check(url, ['origin', 'urls', index]);
  for (const [index, name] of (origin.names ?? []).entries())
    checkHost(name, ['origin', 'names', index], wrong);
  const seen = new Set<string>();
  for (const [index, { ns, url }] of upstreams.entries()) {
    const urls = typeof url === 'string' ? [url] : url;
    for (const [at, each] of urls.entries()) {
      check(each, ['upstreams', index, 'url', ...(typeof url === 'string' ? [] : [at])]);
    }
    checkHost(ns, ['upstreams', index, 'ns'], wrong);
    if (seen.has(ns)) wrong(['upstreams', index, 'ns'], `"${ns}" is named twice`);
    seen.add(ns);
    if (origin.names?.includes(ns) === true) {
      wrong(['upstreams', index, 'ns'], `"${ns}" is already a name of the origin`);
    }
  }
}

function checkPeers(pool: PoolEntry, pools: readonly PoolEntry[], wrong: Wrong): void {
  const slice = sliceOf(pool);
  if (pool.engine === 'embedded' && pool.shards !== undefined) {
    wrong(['shards'], 'need engine: nginx: the embedded one hands no layer to another proxy');
  }
  for (const key of ['parents', 'siblings'] as const) {
    for (const [index, name] of (pool[key] ?? []).entries()) {
      const peer = pools.find((each) => each.name === name);
      if (name === pool.name) wrong([key, index], 'is the pool itself');
      else if (peer === undefined) {
        const near = suggest(
          name,
          pools.map((each) => each.name),
        );
        wrong(
          [key, index],
          `"${name}" is no pool of this file`,
          near === undefined ? undefined : `did you mean ${near}?`,
        );
      } else if (sliceOf(peer) !== slice) {
        wrong(
          [key, index],
          `"${name}" keeps layers in other pieces`,
          'give both the same cache.slice (by itself it follows link.downMbps)',
        );
      } else if (key === 'siblings' && pool.parents?.includes(name) === true) {
        wrong([key, index], `"${name}" is a parent as well`);
      }
    }
  }
  const circle = circleFrom(pool.name, pools);
  if (circle !== undefined) {
    wrong(
      ['parents'],
      `go round in a circle: ${circle.join(' → ')}`,
      'pools that ask one another are siblings',
    );
  }
  for (const [index, shard] of (pool.shards ?? []).entries()) {
    const parsed = checkOrigin(shard, ['shards', index], wrong);
    if (parsed === undefined) continue;
    const first = parseOrigin(pool.shards?.[0] ?? '');
    if (first !== undefined && first.scheme !== parsed.scheme) {
      wrong(['shards', index], 'all shards speak TLS, or none does');
    }
  }
}

/** The way back to the pool over its parents; undefined where there is none. */
function circleFrom(name: string, pools: readonly PoolEntry[]): string[] | undefined {
  const ways: string[][] = [[name]];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const parent of pools.find((pool) => pool.name === way.at(-1))?.parents ?? []) {
      if (parent === name && way.length > 1) return [...way, name];
      if (seen.has(parent) || parent === name) continue;
      seen.add(parent);
      ways.push([...way, parent]);
    }
  }
  return undefined;
}

function sliceOf({ cache, link }: PoolEntry): number {
  return cache?.slice === undefined
    ? defaultSlice(link?.downMbps ?? 1000)
    : (parsePoolSize(cache.slice) ?? 0);
}

function checkLimits(pool: PoolEntry, wrong: Wrong): void {
  const { cache = {}, link = {}, nodes = {} } = pool;
  const slice = sliceOf(pool);
  if (slice < 64 * 1024 || slice > 256 * 1024 ** 2) {
    wrong(['cache', 'slice'], 'must be from 64k to 256m');
  }
  if (cache.maxSize !== undefined && (parsePoolSize(cache.maxSize) ?? 0) < 16 * slice) {
    wrong(['cache', 'maxSize'], 'must be sixteen times cache.slice at least');
  }
  const { downMbps = 1000 } = link;
  for (const key of ['prewarmMbps', 'prewarmDayMbps'] as const) {
    if ((link[key] ?? 0) > downMbps) wrong(['link', key], 'is more than the link carries (downMbps)');
  }
  if (link.prewarmWindow !== undefined && parseTimeWindow(link.prewarmWindow) === undefined) {
    wrong(['link', 'prewarmWindow'], 'must be two different times of day, such as "00:00-07:00"');
  }
  for (const [index, cidr] of (nodes.cidrs ?? []).entries()) {
    if (!nginxValues.network.test(cidr)) {
      wrong(['nodes', 'cidrs', index], `must be ${nginxValues.network.wanted}`);
    }
  }
}

function checkPatterns({ auth = {}, prewarm = {}, upstreams = [] }: PoolEntry, wrong: Wrong): void {
  const repositories = (globs: readonly string[] | undefined, path: DocumentPath): void => {
    for (const [index, glob] of (globs ?? []).entries()) {
      if (compileRepositoryGlob(glob) === undefined) {
        wrong([...path, index], `"${glob}" matches no repository`, 'write for example team-a/**');
      }
    }
  };
  repositories(auth.anonymousRepos, ['auth', 'anonymousRepos']);
  for (const [index, upstream] of upstreams.entries()) {
    repositories(upstream.allow, ['upstreams', index, 'allow']);
    repositories(upstream.deny, ['upstreams', index, 'deny']);
  }
  for (const key of ['always', 'follow'] as const) {
    for (const [index, pattern] of (prewarm[key] ?? []).entries()) {
      const [, repository = '', tag] = /^([^:]*)(?::(.*))?$/.exec(pattern) ?? [];
      const tagFits = tag === undefined || /^[A-Za-z0-9_.*-]{1,128}$/.test(tag);
      if (compileRepositoryGlob(repository) === undefined || !tagFits) {
        wrong(['prewarm', key, index], `"${pattern}" matches no image`, 'write for example team-a/api:*');
      }
    }
  }
}

function checkOrigin(
  text: string,
  path: DocumentPath,
  wrong: Wrong,
): NonNullable<ReturnType<typeof parseOrigin>> | undefined {
  const parsed = parseOrigin(text);
  if (parsed !== undefined) return parsed;
  if (/^[a-z+]+:\/\/[^/]*@/i.test(text)) {
    wrong(path, 'must hold no user name or password', 'use credential: file:PATH');
  } else {
    const scheme = /^[a-z]+:\/\//i.test(text);
    wrong(
      path,
      'must be a scheme and a host without a path, e.g. https://registry.example.com',
      scheme ? undefined : 'put https:// in front',
    );
  }
  return undefined;
}

function checkHost(text: string, path: DocumentPath, wrong: Wrong): void {
  if (parseHostPort(text) === undefined && parseHostPort(`${text}:1`) === undefined) {
    wrong(path, 'must be a host with or without a port, e.g. docker.io');
  }
}

function fits(text: string, kind: NginxValue, path: DocumentPath, wrong: Wrong): boolean {
  if (kind.test(text)) return true;
  wrong(path, `must be ${kind.wanted}`);
  return false;
}

function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const family = isIP(host);
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
