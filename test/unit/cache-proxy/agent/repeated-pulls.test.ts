import { describe, expect, it } from 'vitest';
import { watchRepeatedPulls } from '../../../../cache-proxy/agent/repeated-pulls.ts';
import type { PullRecord } from '../../../../cache-proxy/pull-record.ts';

const pull: PullRecord = {
  time: 0,
  id: '1',
  side: 'client',
  kind: 'blob',
  digest: `sha256:${'a'.repeat(64)}`,
  method: 'GET',
  status: 200,
  cache: 'hit',
  bytes: 10,
  seconds: 0.1,
  client: '10.0.0.1',
  prewarm: false,
};

describe('a node that pulls the same layer again', () => {
  it.each<[string, Partial<PullRecord>, number]>([
    ['at once', {}, 1],
    ['is another node', { client: '10.0.0.2' }, 0],
    ['pulls another layer', { digest: `sha256:${'b'.repeat(64)}` }, 0],
    ['reads a part of it', { status: 206 }, 0],
    ['asks whether it is there', { method: 'HEAD' }, 0],
    ['has it from the origin', { cache: 'miss' }, 0],
    ['is the pool itself', { prewarm: true }, 0],
  ])('%s', (_name, second, reports) => {
    const reported: string[] = [];
    const onRecord = watchRepeatedPulls((digest) => reported.push(digest));

    onRecord(pull);
    onRecord({ ...pull, ...second });

    expect(reported).toHaveLength(reports);
  });
});
