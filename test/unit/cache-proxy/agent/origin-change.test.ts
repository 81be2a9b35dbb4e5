import { describe, expect, it } from 'vitest';
import { purgeTargetOf, readOriginChange } from '../../../../cache-proxy/agent/origin-change.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const repository = 'team/app';

describe('what the origin says happened', () => {
  it.each([
    [
      { action: 'push', repository, digest, tags: ['1', '2'], mediaType: 'a/b', size: 3 },
      { action: 'push', repository, digest, tags: ['1', '2'] },
    ],
    [
      { action: 'push', repository, digest },
      { action: 'push', repository, digest, tags: [] },
    ],
    [
      { action: 'delete', repository, digest },
      { action: 'delete', repository, digest },
    ],
    [
      { action: 'untag', repository, tag: '1' },
      { action: 'untag', repository, tag: '1' },
    ],
    [
      { action: 'remove', repository },
      { action: 'remove', repository },
    ],
  ])('reads %j', (event, change) => {
    expect(readOriginChange(JSON.stringify(event))).toEqual(change);
  });

  it.each([
    'no JSON',
    'null',
    '[]',
    '{"action":"remove"}',
    '{"action":"remove","repository":"../x"}',
    '{"action":"untag","repository":"team/app","tag":"a/b"}',
    '{"action":"delete","repository":"team/app","digest":"sha256:1"}',
    `{"action":"rename","repository":"team/app","digest":"${digest}"}`,
  ])('takes no notice of %s', (data) => {
    expect(readOriginChange(data)).toBeUndefined();
  });

  it('removes what was deleted, and leaves blobs that other repositories may have', () => {
    expect(purgeTargetOf({ action: 'delete', repository, digest })).toEqual({ digest });
    expect(purgeTargetOf({ action: 'untag', repository, tag: '1' })).toEqual({ repository, tag: '1' });
    expect(purgeTargetOf({ action: 'remove', repository })).toEqual({ repository });
    expect(purgeTargetOf({ action: 'unlink', repository, digest })).toBeUndefined();
    expect(purgeTargetOf({ action: 'push', repository, digest, tags: [] })).toBeUndefined();
  });
});
