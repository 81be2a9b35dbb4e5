import { describe, expect, it } from 'vitest';
import { entryPath, shownPath } from '../../../../core/archive/entry-path.ts';

describe('the path of an archive entry', () => {
  it.each([
    ['./a//b/./c/', 'a/b/c'],
    ['.', ''],
    ['a..b/...', 'a..b/...'],
    ['b\xe4', 'b\xe4'],
  ])('%j lies at %j', (path, place) => {
    expect(entryPath(path)).toBe(place);
  });

  it.each([
    ['/etc/passwd', 'entry "/etc/passwd": its path is absolute'],
    ['a/../../b', 'entry "a/../../b": its path climbs out of the archive by ".."'],
    ['..', 'entry "..": its path climbs out of the archive by ".."'],
    ['a\0b', 'entry "a\\u0000b": its path holds a NUL'],
    ['x'.repeat(256), /a part of its path has more than 255 bytes/],
    ['x/'.repeat(2100), /its path has more than 4095 bytes/],
  ])('%j is refused (builder.md 6, row 10)', (path, message) => {
    expect(() => entryPath(path)).toThrow(message);
  });

  it('is shown without anything that steers a terminal', () => {
    expect(shownPath('a\u001b[2J\u009b"')).toBe('"a\\u001b[2J\ufffd\\""');
    expect(shownPath(Buffer.from('\u202e').toString('latin1'))).toBe('"\\u202e"');
  });
});
