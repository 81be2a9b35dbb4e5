import { describe, expect, it } from 'vitest';
import { parseContentRange, parseRange } from '../../../oci/range.ts';

describe('parseRange of a blob of 2,048 bytes', () => {
  it.each([
    ['bytes=500-1499', { start: 500, end: 1499 }],
    ['bytes=500-', { start: 500, end: 2047 }],
    ['bytes=-500', { start: 1548, end: 2047 }],
    ['bytes=2000-5000', { start: 2000, end: 2047 }],
    ['bytes=0-0', { start: 0, end: 0 }],
    ['bytes=-9999', { start: 0, end: 2047 }],
    ['bytes=0-18446744073709551616', { start: 0, end: 2047 }],
  ])('%s is a part', (header, range) => {
    expect(parseRange(header, 2048)).toEqual(range);
  });

  it.each(['bytes=500-0', 'bytes=5000-10000', 'bytes=2048-', 'bytes=-0', 'bytes=18446744073709551616-'])(
    '%s cannot be satisfied',
    (header) => {
      expect(parseRange(header, 2048)).toBe('unsatisfiable');
    },
  );

  it.each([
    undefined,
    '',
    'bytes=-',
    'bytes=0-1,5-6',
    'bytes=a-b',
    'lines=0-1',
    'bytes 0-1',
    'bytes=0x1-2',
    'bytes=1.5-2',
  ])('%s is answered with the whole blob', (header) => {
    expect(parseRange(header, 2048)).toBe('whole');
  });

  it('no range of an empty blob can be satisfied', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-5', 0)).toBe('unsatisfiable');
  });
});

describe('parseContentRange', () => {
  it.each([
    ['0-1023', { start: 0, end: 1023 }],
    ['bytes 1024-2047/*', { start: 1024, end: 2047 }],
    ['bytes 1024-2047/4096', { start: 1024, end: 2047 }],
    ['bytes=5-5', { start: 5, end: 5 }],
  ])('reads %s', (header, range) => {
    expect(parseContentRange(header)).toEqual(range);
  });

  it.each([
    '',
    '-',
    '5',
    '5-',
    '-5',
    '10-5',
    '0-1,2-3',
    'a-b',
    '0-18446744073709551616',
    '0-9007199254740992',
    '0x0-1',
    '-1-5',
  ])('refuses %s', (header) => {
    expect(parseContentRange(header)).toBeUndefined();
  });
});
