import { describe, expect, it } from 'vitest';
import { podmanSetup } from '../../../../cache-proxy/clients/podman.ts';
import { makeClientPool, testPem } from '../../../helpers/client-pool.ts';

describe('the drop-in of Podman and CRI-O', () => {
  it('makes the pool a mirror of the origin, and of an upstream under its name', () => {
    const { files } = podmanSetup(makeClientPool());

    expect(files).toHaveLength(1);
    expect(files[0]?.path).toBe('/etc/containers/registries.conf.d/900-brickyard-pool-hz1.conf');
    expect(files[0]?.content.split('\n').slice(2)).toEqual([
      '',
      '[[registry]]',
      'prefix = "registry.test:5000"',
      'location = "registry.test:5000"',
      '',
      '[[registry.mirror]]',
      'location = "hz1.test"',
      '',
      '[[registry]]',
      'prefix = "docker.io"',
      'location = "docker.io"',
      '',
      '[[registry.mirror]]',
      'location = "hz1.test/docker.io"',
      '',
    ]);
  });

  it('says insecure of exactly those that speak plain HTTP', () => {
    const pool = makeClientPool({
      endpoint: 'http://hz1.test',
      plain: true,
      registries: [
        { host: 'a.test', server: 'http://a.test', kind: 'origin' },
        { host: 'b.test', server: 'https://b.test', kind: 'origin' },
      ],
    });

    const tables = podmanSetup(pool).files[0]?.content.split('[[registry]]').slice(1) ?? [];

    expect(tables.map((table) => table.match(/^insecure = true$/gm)?.length ?? 0)).toEqual([2, 1, 1]);
    expect(tables.at(-1)).toContain('location = "hz1.test"');
  });

  it('puts certificates where the name of the pool is looked up', () => {
    const [, certificate] = podmanSetup(makeClientPool({ ca: testPem, host: 'hz1.test:8443' })).files;

    expect(certificate).toEqual({
      path: '/etc/containers/certs.d/hz1.test:8443/brickyard-pool-hz1.crt',
      content: testPem,
    });
  });
});
