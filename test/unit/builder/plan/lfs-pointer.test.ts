import { expect, it } from 'vitest';
import { isLfsPointer } from '../../../../builder/plan/lfs-pointer.ts';

const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';

it.each([
  [pointer, true],
  [pointer.replace('\noid', '\next-0-foo sha256:ab\noid'), true],
  [pointer.replace('git-lfs', 'hawser'), true],
  ['version https://git-lfs.github.com/spec/v1 is the first line of a pointer\n', false],
  [` ${pointer}`, false],
  ['', false],
  [pointer + 'x'.repeat(1024), false],
])('%j: %s', (text, expected) => {
  expect(isLfsPointer(Buffer.from(text))).toBe(expected);
});
