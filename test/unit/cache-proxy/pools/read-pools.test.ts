import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { poolsSchema } from '../../../../cache-proxy/pools/pools-schema.ts';
import {
  choosePool,
  readPoolCredentials,
  readPoolsFile,
  readPools as readPoolsWith,
} from '../../../../cache-proxy/pools/read-pools.ts';
import { createSchemaChecker } from '../../../../core/document/check-schema.ts';

const checkSchema = createSchemaChecker(poolsSchema);
const readPools = (text: string, file: string): ReturnType<typeof readPoolsWith> =>
  readPoolsWith(text, file, checkSchema);

const small =
  'pools: [{name: rack-4, listen: "127.0.0.1:5080", origin: {urls: ["https://reg.example.com"]}}]\n';

const large = `
pools:
  - name: dc-beijing-1
    endpoint: https://bj1.registry.example
    listen: 0.0.0.0:443
    tls: { cert: tls/pool.crt, key: tls/pool.key }
    origin: { urls: ["https://reg-a.example:443"], credential: "env:POOL" }
  - name: dc-hangzhou-1
    endpoint: https://hz1.registry.example/
    tls: { cert: /etc/pool/tls.crt, key: /etc/pool/tls.key }
    folder: /var/lib/pool
    agent: { listen: "127.0.0.1:6000" }
    engine: nginx
    origin:
      urls: [https://reg-a.example:8443, https://reg-b.example]
      names: [registry.example]
      ca: ca.pem
      credential: file:token
    siblings: [dc-beijing-1]
    cache: { dir: /var/cache/pool, maxSize: 2t, minFree: 50g, inactive: 60d, slice: 8m }
    link: { downMbps: 1000, prewarmMbps: 200, prewarmWindow: "22:30-07:00", prewarmDayMbps: 50 }
    nodes: { cidrs: [10.8.0.0/16, "2001:db8::/32"] }
    auth: { mode: token, offlineGrace: 12h, anonymousRepos: ["public/**"] }
    upstreams: [{ ns: docker.io, url: https://registry-1.docker.io, allow: ["library/**"], deny: ["library/old-*"] }]
    prewarm: { always: ["base/**", "base/jdk:17"], follow: ["team-a/api:*"], topBytes: 500g, halfLife: 2d, maxLayer: 4g }
    onOriginMissing: drop
    p2p: { engine: dragonfly }
`;

function faultsOf(text: string): string[] {
  try {
    readPools(text, '/etc/pools.yaml');
  } catch (error) {
    return (error as Error).message
      .split('\n')
      .filter((line) => line.startsWith('/etc/pools.yaml:'))
      .map((line) => line.slice('/etc/pools.yaml:'.length));
  }
  return [];
}

/** One pool that fits, with further keys. */
const pool = (keys: string): string =>
  `pools:\n- {name: a, listen: "127.0.0.1:80", origin: {urls: ["https://o.example"]}, ${keys}}\n`;

describe('pools.yaml', () => {
  it('needs no more than a name, where to listen, and where the origin is', () => {
    const [only] = readPools(small, '/etc/brickyard/pools.yaml');

    expect(only).toEqual({
      name: 'rack-4',
      endpoint: 'http://127.0.0.1:5080',
      listen: '127.0.0.1:5080',
      allowPlain: false,
      agent: { listen: '127.0.0.1:5095' },
      folder: '/etc/brickyard/pools/rack-4',
      engine: 'nginx',
      origin: { urls: ['https://reg.example.com'] },
      parents: [],
      shards: [],
      cache: {
        folder: '/etc/brickyard/pools/rack-4/cache',
        maxSize: 50 * 1024 ** 3,
        minFree: 2 * 1024 ** 3,
        inactive: 60 * 86_400_000,
        slice: 8 * 1024 ** 2,
      },
      link: { down: 1e9, prewarm: 2e8, prewarmDay: 5e7 },
      nodes: { cidrs: [] },
      auth: { mode: 'token', offlineGrace: 86_400_000, anonymousRepositories: [] },
      upstreams: [],
      prewarm: { always: [], follow: [], topBytes: 0, halfLife: 3 * 86_400_000, maxLayer: 10 * 1024 ** 3 },
      onOriginMissing: 'keep',
      p2p: { engine: 'none' },
    });
  });

  it.each([
    [10_000, 8192],
    [400, 8192],
    [200, 4096],
    [100, 2048],
    [25, 512],
    [1, 512],
  ])('keeps layers in pieces that a link of %d Mbit/s carries soon: %d KiB', (downMbps, kibibytes) => {
    const [only] = readPools(small.replace('}}]', `}, link: {downMbps: ${downMbps}}}]`), '/etc/pools.yaml');

    expect(only?.cache.slice).toBe(kibibytes * 1024);
  });

  it('says everything in one unit, with paths from its own folder', () => {
    const [parent, child] = readPools(large, '/etc/pools.yaml');

    expect(parent?.tls).toEqual({ certificate: '/etc/tls/pool.crt', key: '/etc/tls/pool.key' });
    expect(parent?.origin).toEqual({ urls: ['https://reg-a.example'], credentialFrom: 'env:POOL' });
    expect(child).toMatchObject({
      endpoint: 'https://hz1.registry.example',
      listen: '0.0.0.0:443',
      folder: '/var/lib/pool',
      origin: {
        urls: ['https://reg-a.example:8443', 'https://reg-b.example'],
        names: ['registry.example'],
        ca: '/etc/ca.pem',
        credentialFrom: 'file:/etc/token',
      },
      parents: [{ name: 'dc-beijing-1', endpoint: 'https://bj1.registry.example' }],
      cache: { folder: '/var/cache/pool', maxSize: 2 * 1024 ** 4, minFree: 50 * 1024 ** 3 },
      link: { down: 1e9, prewarm: 2e8, prewarmWindow: { from: 1350, to: 420 }, prewarmDay: 5e7 },
      auth: { mode: 'token', offlineGrace: 43_200_000, anonymousRepositories: ['public/**'] },
      upstreams: [
        {
          ns: 'docker.io',
          urls: ['https://registry-1.docker.io'],
          allow: ['library/**'],
          deny: ['library/old-*'],
        },
      ],
      prewarm: { topBytes: 500 * 1024 ** 3, halfLife: 2 * 86_400_000, maxLayer: 4 * 1024 ** 3 },
      onOriginMissing: 'drop',
    });
  });

  it('tells all faults of a file at once, each with its place', () => {
    const text = `pools:
- name: Rack_4
  listne: 0.0.0.0:80
  origin: { urls: [] }
  cache: { maxSize: 200GB }
  engine: apache
`;

    expect(faultsOf(text).map((line) => line.replace(/ error E\d+ /, ' '))).toEqual([
      '2:9 pools[0].name: must be lower-case letters, digits and "-", such as rack-4',
      '3:3 pools[0].listne: unknown key "listne" (did you mean "listen"?)',
      '4:13 pools[0].origin.urls: must not be empty',
      '5:21 pools[0].cache.maxSize: must be a size with k, m, g or t, such as 8m or 2000g',
      '6:11 pools[0].engine: must be nginx or embedded',
    ]);
  });

  it.each([
    ['nothing', '', 'must be a map, not empty'],
    ['no pool', 'pools: []', 'must not be empty'],
    [
      'neither listen nor endpoint',
      'pools: [{name: a, origin: {urls: ["https://o.example"]}}]',
      '"listen" and "endpoint"',
    ],
    [
      'a listener that other machines reach without TLS',
      pool('').replace('127.0.0.1', '10.0.0.5'),
      'would pass readable',
    ],
    [
      'an endpoint that other machines reach without TLS',
      pool('endpoint: "http://p.example"').replace('127.0.0.1', '10.0.0.5'),
      'would pass readable',
    ],
    [
      'every address and no name for nodes',
      pool('allowPlain: true').replace('127.0.0.1', '0.0.0.0'),
      'add endpoint: http://HOST:80',
    ],
    [
      'a plain endpoint of a proxy with TLS',
      pool('endpoint: "http://p", tls: {cert: c, key: k}'),
      'the proxy speaks TLS',
    ],
    [
      'an origin of plain HTTP elsewhere',
      pool('').replace('https://o', 'http://o'),
      'plain HTTP to another machine',
    ],
    [
      'a password in an address',
      pool('').replace('https://o', 'https://me:secret@o'),
      'must hold no user name or password',
    ],
    ['an origin with a path', pool('').replace('o.example', 'o.example/v2'), 'without a path'],
    ['an origin without a scheme', pool('').replace('https://', ''), 'put https:// in front'],
    [
      'a credential that stands in the file',
      pool('').replace('"]}', '"], credential: "me:secret"}'),
      'the secret itself never stands here',
    ],
    ['a path that nginx would read otherwise', pool('folder: "/a b; }"'), 'an absolute path of letters'],
    ['itself as a parent', pool('parents: [a]'), 'is the pool itself'],
    ['a parent that is no pool', pool('parents: [b]'), '"b" is no pool of this file'],
    ['slices that cannot be', pool('cache: {slice: 1k}'), 'must be from 64k to 256m'],
    ['a cache of a few slices', pool('cache: {slice: 8m, maxSize: 64m}'), 'sixteen times cache.slice'],
    [
      'prewarming beyond the link',
      pool('link: {downMbps: 10, prewarmMbps: 20}'),
      'more than the link carries',
    ],
    ['a window without a minute', pool('link: {prewarmWindow: "07:00-07:00"}'), 'two different times of day'],
    ['a network that is none', pool('nodes: {cidrs: [10.0.0.0/40]}'), 'a network, e.g. 10.8.0.0/16'],
    [
      'a pattern that matches nothing',
      pool('auth: {anonymousRepos: ["Public/**"]}'),
      'matches no repository',
    ],
    ['an image that matches nothing', pool('prewarm: {follow: ["a:b:c"]}'), 'matches no image'],
    [
      'an upstream that stands twice',
      pool('upstreams: [{ns: docker.io, url: "https://a"}, {ns: docker.io, url: "https://b"}]'),
      '"docker.io" is named twice',
    ],
    [
      'the agent where the proxy listens',
      pool('agent: {listen: "127.0.0.1:80"}'),
      'is where the proxy itself listens',
    ],
    [
      'shards of two schemes',
      pool('shards: ["http://127.0.0.1:1", "https://127.0.0.1:2"]'),
      'all shards speak TLS',
    ],
    [
      'shards of the embedded engine',
      pool('engine: embedded, shards: ["http://127.0.0.1:1", "http://127.0.0.1:2"]'),
      'need engine: nginx',
    ],
  ])('refuses %s', (_what, text, message) => {
    const faults = faultsOf(text);

    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^\d+:\d+ error /);
    expect(faults[0]).toContain(message);
  });

  it('shows no secret that stands where none may', () => {
    for (const text of [
      pool('').replace('https://o', 'https://me:sesame@o'),
      pool('').replace('"]}', '"], credential: "me:sesame"}'),
    ]) {
      expect(() => readPools(text, 'pools.yaml')).toThrow(/^(?![^]*sesame)[^]*\*{9}/);
    }
  });

  it('refuses two pools of one name and parents that go round in a circle, but not siblings', () => {
    const entry = (name: string, keys: string): string =>
      `- {name: ${name}, listen: "127.0.0.1:80", origin: {urls: ["https://o"]}, ${keys}}\n`;
    const circle = `pools:\n${entry('a', 'parents: [b]')}${entry('b', 'parents: [c]')}${entry('c', 'parents: [a]')}`;

    expect(faultsOf(`pools:\n${entry('a', '')}${entry('a', '')}`)).toEqual([
      expect.stringContaining('3:10 error E014 pools[1].name: "a" names two pools'),
    ]);
    expect(faultsOf(circle)).toHaveLength(3);
    expect(faultsOf(circle)[0]).toContain('a → b → c → a');
    expect(
      readPools(`pools:\n${entry('a', 'siblings: [b]')}${entry('b', 'siblings: [a]')}`, 'p')[0]?.parents,
    ).toEqual([{ name: 'b', endpoint: 'http://127.0.0.1' }]);
  });

  it('is asked for a pool by name, or for its only one', () => {
    const pools = readPools(large, '/etc/pools.yaml');

    expect(choosePool(pools, 'dc-beijing-1').name).toBe('dc-beijing-1');
    expect(choosePool(readPools(small, 'p')).name).toBe('rack-4');
    expect(() => choosePool(pools)).toThrow('which pool? the pools are dc-beijing-1, dc-hangzhou-1');
    expect(() => choosePool(pools, 'dc-hangzhou-2')).toThrow('did you mean dc-hangzhou-1?');
  });

  it('that is not there is told with its path', () => {
    expect(() => readPoolsFile('/nowhere/pools.yaml')).toThrow('cannot read /nowhere/pools.yaml');
  });
});

describe('the credentials of a pool', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'by-pools-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const withCredential = (credential: string) => {
    const text = pool('').replace('"]}', `"], credential: "${credential}"}`);
    return choosePool(readPools(text, join(folder, 'pools.yaml')));
  };

  it('are read from a file that only its owner may read, or from a variable', () => {
    writeFileSync(join(folder, 'secret'), 'rack-4:pass:word\n', { mode: 0o600 });

    expect(readPoolCredentials(withCredential('file:secret'), {}).origin.credential).toEqual({
      username: 'rack-4',
      password: 'pass:word',
    });
    expect(readPoolCredentials(withCredential('env:P'), { P: 'u:p' }).origin.credential).toEqual({
      username: 'u',
      password: 'p',
    });
  });

  it('are refused with what to do', () => {
    writeFileSync(join(folder, 'open'), 'u:p');
    chmodSync(join(folder, 'open'), 0o644);
    writeFileSync(join(folder, 'odd'), 'no colon', { mode: 0o600 });

    for (const [credential, message] of [
      ['file:open', `may be read by others; run: chmod 600 ${folder}/open`],
      ['file:odd', 'must hold one line user:password'],
      ['file:none', 'cannot be read'],
      ['env:NONE', 'give the variable NONE the value user:password'],
    ] as const) {
      expect(() => readPoolCredentials(withCredential(credential), {})).toThrow(message);
    }
  });
});
