import { describe, expect, it } from 'vitest';
import type { ClientPool } from '../../../../cache-proxy/clients/client-setup.ts';
import { containerdSetup } from '../../../../cache-proxy/clients/containerd.ts';
import { makeClientPool, testPem } from '../../../helpers/client-pool.ts';

describe('the hosts.toml files of containerd', () => {
  it('ask the pool first and the registry itself when it is away, one file for each registry', () => {
    const { files } = containerdSetup(makeClientPool());

    expect(files.map(({ path }) => path)).toEqual([
      '/etc/containerd/certs.d/registry.test:5000/hosts.toml',
      '/etc/containerd/certs.d/docker.io/hosts.toml',
    ]);
    expect(files[1]?.content).toBe(
      [
        '# brickyard pool hz1: images of docker.io come from the pool; from https://registry-1.docker.io when it is away',
        '# Made by "brickyard pool clients hz1": change pools.yaml, not this file.',
        'server = "https://registry-1.docker.io"',
        '',
        '[host."https://hz1.test"]',
        '  capabilities = ["pull", "resolve"]',
        '  dial_timeout = "2s"',
        '',
      ].join('\n'),
    );
  });

  it('name certificates beside them, the registry’s own too, which containerd no longer finds by itself', () => {
    const pool = makeClientPool({
      ca: testPem,
      registries: [{ host: 'registry.test', server: 'https://registry.test', kind: 'origin', ca: 'OWN' }],
    });

    const [hosts, ...pems] = containerdSetup(pool).files.filter(({ path }) =>
      path.includes('/registry.test/'),
    );

    expect(hosts?.content).toContain(
      'server = "https://registry.test"\nca = "brickyard-origin-hz1.pem"\n\n[host."https://hz1.test"]\n',
    );
    expect(hosts?.content).toContain('  ca = "brickyard-pool-hz1.pem"\n');
    expect(pems).toEqual([
      { path: '/etc/containerd/certs.d/registry.test/brickyard-pool-hz1.pem', content: testPem },
      { path: '/etc/containerd/certs.d/registry.test/brickyard-origin-hz1.pem', content: 'OWN' },
    ]);
  });

  it('say how the pool itself is spoken to, for images that are called by its own name, where the system does not know', () => {
    const own = '/etc/containerd/certs.d/hz1.test/';
    const ownFiles = (pool: ClientPool) =>
      containerdSetup(pool).files.filter(({ path }) => path.startsWith(own));

    expect(ownFiles(makeClientPool())).toEqual([]);
    expect(ownFiles(makeClientPool({ ca: testPem })).map(({ path }) => path)).toEqual([
      `${own}hosts.toml`,
      `${own}brickyard-pool-hz1.pem`,
    ]);
    const [plain] = ownFiles(makeClientPool({ endpoint: 'http://hz1.test', plain: true }));
    expect(plain?.content).toContain(
      '[host."http://hz1.test"]\n  capabilities = ["pull", "resolve", "push"]\n',
    );
  });

  it('ask Dragonfly on the node before the pool where the pool has it', () => {
    const [hosts] = containerdSetup(makeClientPool({ p2p: 'dragonfly' })).files;

    expect([...(hosts?.content ?? '').matchAll(/^\[host\."(.*)"\]$/gm)].map(([, url]) => url)).toEqual([
      'http://127.0.0.1:4001',
      'https://hz1.test',
    ]);
  });

  it('come with the lines that config.toml needs, of both generations', () => {
    const [note] = containerdSetup(makeClientPool()).notes;

    expect(note).toContain('[plugins."io.containerd.cri.v1.images".registry]');
    expect(note).toContain('[plugins."io.containerd.grpc.v1.cri".registry]');
  });
});
