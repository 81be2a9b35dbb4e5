import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { dragonflyFiles, dragonflyNotes } from '../../../../cache-proxy/clients/dragonfly.ts';
import { spegelFiles, spegelNotes } from '../../../../cache-proxy/clients/spegel.ts';
import { makeClientPool, testPem } from '../../../helpers/client-pool.ts';

describe('Dragonfly behind a pool', () => {
  const options = { schedulers: ['10.8.0.2:8002'], bitsPerSecond: 1e9 };
  const pool = makeClientPool({ ca: testPem, p2p: 'dragonfly' });
  const files = new Map(dragonflyFiles(pool, options).map(({ path, content }) => [path, parse(content)]));

  it('has the pool as its registry, and only blobs go from node to node', () => {
    const { proxy } = files.get('/etc/dragonfly/dfdaemon.yaml');

    expect(proxy.registryMirror).toMatchObject({
      addr: 'https://hz1.test',
      cert: '/etc/dragonfly/brickyard-pool-hz1.pem',
    });
    expect(proxy.rules).toEqual([{ regex: 'blobs/sha256.*' }]);
    expect(proxy.server.ip).toBe('127.0.0.1');
  });

  it('runs without a manager: schedulers stand in a file, seeds are clients that say so', () => {
    const client = files.get('/etc/dragonfly/dfdaemon.yaml');

    expect(client).not.toHaveProperty('manager');
    expect(files.get('/etc/dragonfly/dynconfig.yaml')).toEqual({ scheduler: { addrs: ['10.8.0.2:8002'] } });
    expect(files.get('/etc/dragonfly/seed/dfdaemon.yaml')).toEqual({
      ...client,
      seedPeer: { enable: true, type: 'super' },
    });
    expect(files.get('/etc/dragonfly/scheduler/scheduler.yaml')).toMatchObject({
      server: { port: 8002 },
      job: { enable: false },
    });
  });

  it('takes no more of the pool than the link carries, in bytes', () => {
    expect(files.get('/etc/dragonfly/dfdaemon.yaml').download.backToSourceBandwidthLimit).toBe('125MB');
  });

  it('says that peers do not ask who may have a blob', () => {
    expect(dragonflyNotes(pool, options).join('\n')).toContain('circle of trust');
  });
});

describe('Spegel before a pool', () => {
  it('leaves the pool’s hosts.toml in place and never resolves a tag by itself', () => {
    const [file] = spegelFiles(makeClientPool({ p2p: 'spegel' }));

    expect(parse(file?.content ?? '').spegel).toMatchObject({
      mirroredRegistries: ['https://registry.test:5000', 'https://docker.io'],
      prependExisting: true,
      additionalMirrorTargets: [],
      resolveTags: false,
    });
  });

  it('says what it drops where a registry has certificates of its own', () => {
    const [registry] = makeClientPool().registries;
    if (registry === undefined) throw new Error('there is one');
    const own = makeClientPool({ registries: [{ ...registry, ca: testPem }] });

    expect(spegelNotes(own).join('\n')).toContain('drops the registry');
    expect(spegelNotes(makeClientPool()).join('\n')).not.toContain('drops the registry');
  });
});
