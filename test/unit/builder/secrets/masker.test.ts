import { describe, expect, it } from 'vitest';
import { createMasker } from '../../../../builder/secrets/masker.ts';

const token = 'npm_s3cr3t/Va+lue=&"x"';
const pem = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC'.repeat(2)}\nkurz\nQUJDREVGRw==0123\n-----END PRIVATE KEY-----\n`;

function masker(...values: string[]) {
  return createMasker(new Map(values.map((value, index) => [`s${index}`, Buffer.from(value)])));
}

/** As a container's output arrives: in pieces of `size` bytes. */
function inPieces(text: string, size: number, ...values: string[]): string {
  const stream = masker(...values).stream();
  const bytes = Buffer.from(text);
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push(stream.write(bytes.subarray(at, at + size)));
  return Buffer.concat([...out, stream.end()]).toString();
}

describe('row 22: a secret in a log', () => {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const forms: [string, string][] = [
    ['as it is', token],
    ['backwards', token.split('').reverse().join('')],
    ['in an address', encodeURIComponent(token)],
    [
      'in an address with lower-case codes',
      encodeURIComponent(token).replace(/%../g, (code) => code.toLowerCase()),
    ],
    ['in JSON', JSON.stringify(token)],
    ['in XML', token.replace('&', '&amp;')],
    ['as base64', base64(token)],
    ['as base64 for addresses', Buffer.from(token).toString('base64url')],
    ['as base64 behind a name', base64(`u:${token}`)],
    ['as base64 behind a longer name', base64(`usr:${token}:x`)],
    ['as base64 behind an even longer name', base64(`user:${token}`)],
    ['as hex', Buffer.from(token).toString('hex')],
    ['as capital hex', Buffer.from(token).toString('hex').toUpperCase()],
  ];

  it.each(forms)('%s is masked, wherever the text is cut', (_, form) => {
    for (const size of [1, 2, 3, 7, 64, 10_000]) {
      const masked = inPieces(`before ${form} behind\n${form}`, size, token);

      expect(masked).toMatch(/^before \S*\*\*\*\S* behind\n\S*\*\*\*\S*$/);
      // Of base64 the signs at its edges may stay: they also stand for what is beside the secret.
      expect(masked.length).toBeLessThan('before *** behind\n***'.length + 30);
    }
  });

  it('a value of several lines is masked line by line and as a whole', () => {
    const masked = inPieces(`key:\n${pem}done\n  kurz is no secret\n`, 5, pem);

    expect(masked).toBe('key:\n***\ndone\n  kurz is no secret\n');
    expect(masker(pem).mask('x QUJDREVGRw==0123 x')).toBe('x *** x');
    expect(masker(pem).mask('-----BEGIN PRIVATE KEY-----')).toBe('-----BEGIN PRIVATE KEY-----');
  });

  it('a long value is masked where base64 is wrapped', () => {
    const value = 'abcdefghij0123456789'.repeat(20);
    for (const columns of [64, 76]) {
      const wrapped = base64(value).replace(new RegExp(`.{${columns}}`, 'g'), '$&\n');

      // But for an end too short to be looked for.
      const left = masker(value)
        .mask(wrapped)
        .replace(/[*=\n]/g, '');
      expect(left.length).toBeLessThan(8);
    }
  });

  it('secrets beside each other and within each other are masked whole', () => {
    const values = ['abcdefghijkl', 'ijklmnopqrst', 'cdefghij'];

    for (const size of [1, 3, 100]) {
      expect(inPieces('<abcdefghijklmnopqrst>', size, ...values)).toBe('<***>');
      expect(inPieces('<abcdefghijklijklmnopqrst>', size, ...values)).toBe('<***>');
      expect(inPieces('<cdefghij><abcdefghijk>', size, ...values)).toBe('<***><ab***k>');
    }
  });
});

it('text without secrets passes as it is, and at once', () => {
  const stream = masker(token).stream();

  expect(stream.write(Buffer.from('npm WARN deprecated\n')).toString()).toBe('npm WARN deprecated\n');
  // Only what may become a secret waits.
  expect(stream.write(Buffer.from('found npm_s3')).toString()).toBe('found ');
  expect(stream.write(Buffer.from('x\n')).toString()).toBe('npm_s3x\n');
  expect(stream.write(Buffer.from('npm_s3cr3t')).toString()).toBe('');
  expect(stream.end().toString()).toBe('npm_s3cr3t');
});

it('without secrets nothing is looked at', () => {
  const bytes = Buffer.from([0xff, 0xfe, 0, 10]);

  expect(createMasker(new Map()).bytes(bytes)).toEqual(bytes);
});

it('holds back 1,024 bytes at most, however long the secret', () => {
  const value = `${'0123456789abcdef'.repeat(4000)}!`;
  const stream = masker(value).stream();
  let given = 0;
  for (let at = 0; at < value.length; at += 1000) {
    given += stream.write(Buffer.from(value.slice(at, at + 1000))).length;
  }

  expect(given).toBeGreaterThan(0);
  expect(Buffer.from(stream.end()).length).toBeLessThanOrEqual(1024);
});
