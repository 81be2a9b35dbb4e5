import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { isProcessGone, processIdentity } from '../../../core/process-identity.ts';

describe('the identity of a process', () => {
  const own = processIdentity();
  const [host = '', pid = '', start = '', system = ''] = own.split(':');

  it('names its machine and number for people', () => {
    expect([host, pid]).toEqual([hostname(), String(process.pid)]);
  });

  it('is that of one that runs', () => {
    expect(isProcessGone(own)).toBe(false);
  });

  it('tells a process that is gone, also when another has its number', () => {
    expect(isProcessGone([host, pid, `${start}0`, system].join(':'))).toBe(true);
    // The largest number that Linux gives is 2^22.
    expect(isProcessGone([host, '4194305', start, system].join(':'))).toBe(true);
  });

  it.each([
    ['another machine', `other:4194305:${start}:${system}`],
    ['another boot or container', `${host}:4194305:${start}:${system}0`],
    ['a system that tells nothing', `${host}:4194305:-:-`],
    ['another version', `${host}:4194305`],
    ['a name', 'test'],
    ['nothing', ''],
    ['a number that is none', `${host}:../1:${start}:${system}`],
  ])('says nothing of %s', (_, identity) => {
    expect(isProcessGone(identity)).toBe(false);
  });
});
