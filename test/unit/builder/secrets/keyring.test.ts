import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createKeyring, KeyMissing, parseKeys, SealBroken } from '../../../../builder/secrets/keyring.ts';

const key = (): string => randomBytes(32).toString('base64');
const value = Buffer.from('the value');

describe('keys of a setting', () => {
  it('are parted by blanks, commas or lines', () => {
    expect(parseKeys(`${key()}\n${key()}, ${key()}\n`)).toHaveLength(3);
  });

  it.each([
    ['', 'holds no key'],
    ['secret', 'the key is not base64 of 32 bytes'],
    [`${'A'.repeat(42)}`, 'the key is not base64'],
    [`${key()} ${'!'.repeat(44)}`, 'key 2 of 2 is not base64'],
  ])('%j is refused, and not repeated', (text, message) => {
    const fault = parseKeys(text);

    expect(fault).toContain(message);
    if (text !== '') expect(fault).not.toContain(text);
  });
});

describe('a sealed value', () => {
  it('opens with its key and context, and is another each time', () => {
    const ring = createKeyring(key());
    const sealed = ring.seal(value, 'a');

    expect(ring.open(sealed, 'a')).toEqual(value);
    expect(ring.seal(value, 'a').data).not.toBe(sealed.data);
    expect(JSON.stringify(sealed)).not.toContain(value.toString('base64'));
  });

  it('opens as nothing else', () => {
    const ring = createKeyring(key());
    const sealed = ring.seal(value, 'a');
    const changed = Buffer.from(sealed.data, 'base64');
    changed[0] = (changed[0] ?? 0) ^ 1;

    expect(() => ring.open(sealed, 'b')).toThrow(SealBroken);
    expect(() => ring.open({ ...sealed, data: changed.toString('base64') }, 'a')).toThrow(SealBroken);
    // A tag of four bytes would be guessed soon.
    const short = Buffer.from(sealed.tag, 'base64').subarray(0, 4).toString('base64');
    expect(() => ring.open({ ...sealed, tag: short }, 'a')).toThrow(SealBroken);
  });

  it('opens as long as its key is among several, of which the first seals', () => {
    const [first, second] = [key(), key()];
    const sealed = createKeyring(first).seal(value, 'a');
    const both = createKeyring(`${second} ${first}`);

    expect(both.open(sealed, 'a')).toEqual(value);
    expect(both.has(sealed.key)).toBe(true);
    expect(both.current).not.toBe(sealed.key);
    expect(() => createKeyring(second).open(sealed, 'a')).toThrow(KeyMissing);
  });
});

it('fingerprints are equal for equal values in one context and under one key only', () => {
  const ring = createKeyring(key());
  const print = ring.fingerprint(value, 'a');

  expect(ring.fingerprint(Buffer.from(value), 'a')).toBe(print);
  expect(print).toMatch(/^[0-9a-f]{32}$/);
  expect(ring.fingerprint(value, 'b')).not.toBe(print);
  expect(ring.fingerprint(Buffer.from('other'), 'a')).not.toBe(print);
  expect(createKeyring(key()).fingerprint(value, 'a')).not.toBe(print);
});
