import { expect, it } from 'vitest';
import { clientPool } from '../../../../cache-proxy/clients/client-pool.ts';
import { makePool } from '../../../helpers/pool.ts';

const pool = makePool({
  folder: '/tmp/none',
  listen: '127.0.0.1:5096',
  name: 'hz1',
  endpoint: 'https://hz1.test:443',
  origin: ['http://a.test:5000', 'http://b.test'],
  upstreams: [{ ns: 'docker.io', urls: ['https://registry-1.docker.io'], allow: [], deny: [] }],
});

it('images of the origin are known by all its names, the public ones first, and fall back to that very name', () => {
  const named = { ...pool, origin: { ...pool.origin, names: ['registry.test', 'a.test:5000'] } };

  expect(clientPool(named).registries).toEqual([
    { host: 'registry.test', server: 'http://registry.test', kind: 'origin' },
    { host: 'a.test:5000', server: 'http://a.test:5000', kind: 'origin' },
    { host: 'b.test', server: 'http://b.test', kind: 'origin' },
    { host: 'docker.io', server: 'https://registry-1.docker.io', kind: 'upstream' },
  ]);
});

it('the endpoint is written without the port of its scheme, as images are called', () => {
  expect(clientPool(pool)).toMatchObject({ endpoint: 'https://hz1.test', host: 'hz1.test', plain: false });
});

it('each registry goes with the certificates that it needs', () => {
  const { ca, registries } = clientPool(pool, { pool: 'P', origin: 'O', upstreams: { 'docker.io': 'U' } });

  expect([ca, ...registries.map((each) => each.ca)]).toEqual(['P', 'O', 'O', 'U']);
});
