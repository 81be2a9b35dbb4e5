import { expect, it } from 'vitest';

it('bytes are equal only when all of them are', () => {
  const bytes = Buffer.from('abc');

  expect(bytes).toEqual(Buffer.from('abc'));
  expect({ bytes }).toEqual({ bytes: Buffer.from('abc') });
  expect(bytes).not.toEqual(Buffer.from('abd'));
  expect(bytes).not.toEqual(Buffer.from('abcd'));
  expect(bytes).not.toEqual('abc');
});
