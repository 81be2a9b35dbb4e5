import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { poolConfig } from '../../../../cache-proxy/nginx/pool-config.ts';
import { renderNginx } from '../../../../cache-proxy/nginx/render.ts';
import type { Pool } from '../../../../cache-proxy/pools/pool.ts';
import { makePool } from '../../../helpers/pool.ts';

const runtime = { run: '/var/lib/pool/run', agent: '127.0.0.1:5095', generation: 'abc123' };

function pool(changes: Partial<Omit<Pool, 'origin'>> = {}): Pool {
  return makePool({
    folder: '/var/lib/pool',
    listen: '10.8.0.2:443',
    origin: ['https://reg-a.example.com', 'https://reg-b.example.com:8443'],
    name: 'dc-hangzhou-1',
    endpoint: 'https://hz1.example.com',
    tls: { certificate: '/etc/pool/tls.crt', key: '/etc/pool/tls.key' },
    ...changes,
  });
}

const render = (changes: Partial<Omit<Pool, 'origin'>> = {}): string =>
  renderNginx(poolConfig(pool(changes), runtime));

describe('the configuration of a pool’s nginx', () => {
  it('is the one that is written down', () => {
    const text = render({
      upstreams: [{ ns: 'docker.io', urls: ['https://registry-1.docker.io'], allow: [], deny: [] }],
      shards: ['https://10.8.0.2', 'https://10.8.0.3'],
      nodes: { cidrs: ['10.8.0.0/16'] },
    });
    const golden = readFileSync(join(import.meta.dirname, 'golden/pool.conf'), 'utf8');

    expect(text).toBe(golden);
  });

  it('holds no secret: who the pool is towards registries is known to its agent alone', () => {
    const made = pool();
    const credential = { username: 'pool', password: 'sesame' };
    const text = renderNginx(poolConfig({ ...made, origin: { ...made.origin, credential } }, runtime));

    expect(text).not.toContain('sesame');
    expect(text).not.toContain(Buffer.from('pool:sesame').toString('base64'));
  });

  it('asks the agent for every request that its cache could answer, and locks for as long as a fetch can take', () => {
    const caching = render()
      .split(/^ {4}location /m)
      .filter((location) => location.includes('proxy_cache_key'));

    expect(caching.length).toBeGreaterThanOrEqual(4);
    for (const location of caching) {
      // Where the agent's verdict leads, it was asked.
      const isAsked = /auth_request \/_authz(?:_slices)?;/.test(location);
      expect(isAsked || /^= \/_arriving \{\n +internal;/.test(location)).toBe(true);
    }
    expect(render().match(/\/_arriving/g)).toHaveLength(2);
    expect(render()).toContain('if ($pool_verdict = arriving) {\n        rewrite ^ /_arriving last;');
    expect(render()).toMatch(/proxy_cache_lock_timeout 1h;\n +proxy_cache_lock_age 1h;/);
  });

  it('serves a tag that the origin lost where the pool keeps such', () => {
    expect(render({ onOriginMissing: 'keep' })).toMatch(/use_stale [^;]*http_404/);
    expect(render({ onOriginMissing: 'drop' })).not.toContain('http_404');
  });

  it.each([
    ['name', { name: 'a; }' }],
    ['folder', { folder: '/a b;' }],
    ['certificate', { tls: { certificate: '/a"\n', key: '/k' } }],
  ])('is refused where a value could end its directive: %s', (_what, changes) => {
    expect(() => render(changes)).toThrow('not a directive');
  });
});
