import { describe, expect, it } from 'vitest';
import { resolveNamespace } from '../../../../cache-proxy/pools/name-space.ts';
import { makePool } from '../../../helpers/pool.ts';

const plain = makePool({
  folder: '/tmp/none',
  listen: '127.0.0.1:5096',
  endpoint: 'https://pool.test',
  origin: ['https://a.test', 'http://b.test:5000'],
  upstreams: [{ ns: 'docker.io', urls: ['https://hub.test'], allow: [], deny: [] }],
});
const pool = { ...plain, origin: { ...plain.origin, names: ['registry.test'] } };

describe('which registry a request is about', () => {
  it.each([
    ['without ns', undefined],
    ['with an empty ns', ''],
    ['with the name of a replica', 'a.test'],
    ['with the scheme’s own port', 'a.test:443'],
    ['with a replica’s port', 'b.test:5000'],
    ['with the pool’s own name', 'pool.test'],
    ['with a name that pools.yaml lists', 'registry.test'],
  ])('%s is the origin', (_, ns) => {
    expect(resolveNamespace(pool, ns, 'team/app')).toEqual({ kind: 'origin', repository: 'team/app' });
  });

  it.each([
    ['by ns', 'docker.io', 'library/nginx'],
    ['by the path of clients that send none', undefined, 'docker.io/library/nginx'],
  ])('an upstream is named %s', (_, ns, repository) => {
    expect(resolveNamespace(pool, ns, repository)).toEqual({
      kind: 'upstream',
      upstream: pool.upstreams[0],
      repository: 'library/nginx',
    });
  });

  it.each([
    ['a registry it does not stand for', 'quay.io', 'team/app'],
    ['another port of the origin', 'a.test:8443', 'team/app'],
  ])('%s is foreign, never the origin', (_, ns, repository) => {
    expect(resolveNamespace(pool, ns, repository)).toEqual({ kind: 'foreign' });
  });

  it('a repository whose name only begins like an upstream is the origin’s', () => {
    expect(resolveNamespace(pool, undefined, 'docker.io2/app')).toMatchObject({ kind: 'origin' });
    expect(resolveNamespace(pool, undefined, 'docker.io')).toMatchObject({ kind: 'origin' });
  });
});
