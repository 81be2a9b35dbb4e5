import { expect, it } from 'vitest';
import type { AccessRequest } from '../../../../cache-proxy/agent/gate.ts';
import { createShardGrants, type ShardGrants } from '../../../../cache-proxy/nginx/shard-grant.ts';
import { makePool } from '../../../helpers/pool.ts';

const request: AccessRequest = {
  repository: 'team/app',
  reference: { digest: `sha256:${'a'.repeat(64)}` },
  kind: 'blob',
  authorization: 'Bearer anybody',
};

function grants(password: string | undefined, now: () => number = () => 1_000_000): ShardGrants {
  const pool = makePool({
    folder: '/p',
    listen: '127.0.0.1:1',
    origin: ['http://o'],
    shards: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
  });
  const credential = password === undefined ? {} : { credential: { username: 'pool', password } };
  const made = createShardGrants({ ...pool, origin: { ...pool.origin, ...credential } }, now);
  if (made === undefined) throw new Error('there are shards');
  return made;
}

it('a word about a request is believed by whoever has the pool’s account, about that request alone', () => {
  const word = grants('sesame').give(request);

  expect(grants('sesame').verify({ ...request, authorization: 'Basic x' }, word)).toBe(true);
  expect(grants('another').verify(request, word)).toBe(false);
  for (const other of [
    { ...request, repository: 'team/other' },
    { ...request, ns: 'docker.io' },
    { ...request, kind: 'manifest' as const },
    { ...request, reference: { digest: `sha256:${'b'.repeat(64)}` } },
  ]) {
    expect(grants('sesame').verify(other, word)).toBe(false);
  }
});

it('a word is old after two minutes, and none is of a far future', () => {
  let now = 1_000_000;
  const clock = grants('sesame', () => now);
  const word = clock.give(request);
  now += 119_000;
  expect(clock.verify(request, word)).toBe(true);
  now += 2_000;
  expect(clock.verify(request, word)).toBe(false);
  now -= 1_000_000;
  expect(clock.verify(request, word)).toBe(false);
});

it.each([undefined, '', '1', '1000001.', `1000001.${'0'.repeat(64)}`, `1e9.${'0'.repeat(64)}`])(
  '%s is nobody’s word',
  (word) => {
    expect(grants('sesame').verify(request, word)).toBe(false);
  },
);

it('without an account there is nothing to sign with, and nothing is believed', () => {
  const open = grants(undefined);

  expect(open.give(request)).toBe('1');
  expect(open.verify(request, open.give(request))).toBe(false);
});

it('a pool of one proxy has none', () => {
  const pool = makePool({ folder: '/p', listen: '127.0.0.1:1', origin: ['http://o'] });

  expect(createShardGrants(pool)).toBeUndefined();
});
