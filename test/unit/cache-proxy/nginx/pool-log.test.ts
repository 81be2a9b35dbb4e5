import { expect, it } from 'vitest';
import { parsePoolLine } from '../../../../cache-proxy/nginx/pool-log.ts';

const line = (changes: Record<string, unknown> = {}): string =>
  JSON.stringify({
    time: 1795295405.063,
    id: 'f00d',
    kind: 'tag',
    ns: '',
    repository: 'team/app',
    digest: '',
    tag: 'v1',
    method: 'GET',
    status: 200,
    cache: 'REVALIDATED',
    bytes: 402,
    seconds: 0.012,
    first: '0.011',
    client: '10.8.0.7',
    prewarm: '',
    ...changes,
  });

it('a line of nginx’ log is the record of a request', () => {
  expect(parsePoolLine(line())).toEqual({
    time: 1795295405063,
    id: 'f00d',
    side: 'client',
    kind: 'tag',
    repository: 'team/app',
    tag: 'v1',
    method: 'GET',
    status: 200,
    cache: 'revalidated',
    bytes: 402,
    seconds: 0.012,
    firstByteSeconds: 0.011,
    client: '10.8.0.7',
    prewarm: false,
  });
});

it('the pool’s own requests name no client', () => {
  const record = parsePoolLine(line({ kind: 'blob', digest: 'sha256:00', ns: 'docker.io', prewarm: '1' }));

  expect(record).toMatchObject({ kind: 'blob', digest: 'sha256:00', ns: 'docker.io', prewarm: true });
  expect(record).not.toHaveProperty('client');
  expect(record).not.toHaveProperty('tag');
});

it.each([
  ['HIT', 'hit'],
  ['MISS', 'miss'],
  ['EXPIRED', 'miss'],
  ['STALE', 'stale'],
  ['', 'bypass'],
])('a cache status %s is a %s', (cache, wanted) => {
  expect(parsePoolLine(line({ cache }))?.cache).toBe(wanted);
});

it.each(['', '{"time":1', 'null', '[]', '{}', '{"id":"a","kind":"what"}'])('%s is no record', (text) => {
  expect(parsePoolLine(text)).toBeUndefined();
});
