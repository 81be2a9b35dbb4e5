import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { normaliseKeyStore } from '../../../../../builder/catalog/level/java-keystore.ts';

/** A store as Java writes it: its entries come in the order of a hash table. */
function store(entries: Readonly<Record<string, string>>, date: number, tag = 2): Buffer {
  const parts = [Buffer.from('feedfeed00000002', 'hex'), number(Object.keys(entries).length, 4)];
  for (const [alias, certificate] of Object.entries(entries)) {
    parts.push(number(tag, 4), text(alias), number(date, 8), text('X.509'));
    parts.push(number(certificate.length, 4), Buffer.from(certificate));
  }
  const body = Buffer.concat(parts);
  const secret = Buffer.from('changeit', 'utf16le').swap16();
  return Buffer.concat([
    body,
    createHash('sha1').update(secret).update('Mighty Aphrodite').update(body).digest(),
  ]);
}

function number(value: number, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex');
}

function text(value: string): Buffer {
  return Buffer.concat([number(value.length, 2), Buffer.from(value)]);
}

describe('a Java key store of certificates', () => {
  it('is the same whenever and in whatever order it was made, and its checksum holds', () => {
    const made = normaliseKeyStore(store({ b: 'second', a: 'first' }, 1_700_000_000_000));

    expect(made).toEqual(normaliseKeyStore(store({ a: 'first', b: 'second' }, 1_600_000_000_000)));
    expect(made).toEqual(store({ a: 'first', b: 'second' }, 315_532_801_000));
  });

  it.each([
    ['text', Buffer.from('no key store at all, but long enough')],
    ['a private key', store({ a: 'key' }, 0, 1)],
    ['a store that is cut short', store({ a: 'first' }, 0).subarray(0, 40)],
    ['a store with more behind it', Buffer.concat([store({ a: 'first' }, 0), Buffer.from('x')])],
  ])('is left as it is when it is %s', (_, bytes) => {
    expect(normaliseKeyStore(bytes)).toBeUndefined();
  });
});
