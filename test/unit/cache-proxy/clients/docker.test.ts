import { describe, expect, it } from 'vitest';
import { dockerSetup } from '../../../../cache-proxy/clients/docker.ts';
import { makeClientPool, testPem } from '../../../helpers/client-pool.ts';

describe('what Docker needs', () => {
  it('is nothing where the system knows the certificate: images are called by the pool’s name', () => {
    const { files, merges, notes } = dockerSetup(makeClientPool());

    expect([files, merges]).toEqual([[], []]);
    expect(notes[0]).toContain(
      'docker pull hz1.test/team/app:tag instead of registry.test:5000/team/app:tag',
    );
    expect(notes[1]).toContain('docker pull hz1.test/docker.io/');
  });

  it('are certificates under the pool’s name', () => {
    expect(dockerSetup(makeClientPool({ ca: testPem })).files).toEqual([
      { path: '/etc/docker/certs.d/hz1.test/ca.crt', content: testPem },
    ]);
  });

  it.each([
    [
      '10.8.0.2:5000',
      [{ path: '/etc/docker/daemon.json', add: { 'insecure-registries': ['10.8.0.2:5000'] } }],
    ],
    // Docker believes these by itself.
    ['127.0.0.1:5000', []],
    ['localhost:5000', []],
  ])('is the word insecure for plain HTTP at %s', (host, merges) => {
    const pool = makeClientPool({ endpoint: `http://${host}`, host, plain: true });

    expect(dockerSetup(pool).merges).toEqual(merges);
  });

  it('is a mirror of Docker Hub where Docker Hub is the origin, and never for an upstream: Docker does not say which registry it means', () => {
    const hub = { host: 'registry-1.docker.io', server: 'https://registry-1.docker.io' };

    expect(dockerSetup(makeClientPool({ registries: [{ ...hub, kind: 'origin' }] })).merges).toEqual([
      { path: '/etc/docker/daemon.json', add: { 'registry-mirrors': ['https://hz1.test'] } },
    ]);
    expect(dockerSetup(makeClientPool({ registries: [{ ...hub, kind: 'upstream' }] })).merges).toEqual([]);
  });
});
