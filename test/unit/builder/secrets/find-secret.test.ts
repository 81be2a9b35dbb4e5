import { describe, expect, it } from 'vitest';
import { createSecretFinder } from '../../../../builder/secrets/find-secret.ts';

const token = 'npm_s3cr3tValue';
const pem = '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC1\n-----END PRIVATE KEY-----\n';
const finder = createSecretFinder(
  new Map([
    ['npm', Buffer.from(`${token}\n`)],
    ['tls', Buffer.from(pem)],
  ]),
);

async function pass(content: string, size: number): Promise<string> {
  const bytes = Buffer.from(content);
  const pieces = (async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  })();
  const out: Buffer[] = [];
  const found = (secret: string): never => {
    throw new Error(`found ${secret} after ${Buffer.concat(out).toString()}`);
  };
  for await (const chunk of finder.inContent(pieces, found)) out.push(chunk);
  return Buffer.concat(out).toString();
}

describe('content with a secret', () => {
  it.each([
    ['a token', `//registry/:_authToken=${token}\n`, 'found npm'],
    ['a token at the very end', `x=${token}`, 'found npm'],
    ['a token as base64', `auth=${Buffer.from(`u:${token}`).toString('base64')}\n`, 'found npm'],
    ['a key', `x\n${pem}`, 'found tls'],
    ['the lines of a key', 'key: "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC1"', 'found tls'],
  ])('%s is found, and not given out', async (_, content, message) => {
    for (const size of [1, 5, 1000]) {
      const failed = pass(content, size);

      await expect(failed).rejects.toThrow(message);
      await expect(failed).rejects.not.toThrow(token);
    }
  });

  it('what any file may hold passes unchanged', async () => {
    const content = `-----BEGIN PRIVATE KEY-----\n npm_s3cr3tValu npm_ ${token.slice(0, -1)}`;

    for (const size of [1, 7, 1000]) expect(await pass(content, size)).toBe(content);
  });
});

it('names and links are searched to their end', () => {
  expect(finder.inText(`npm_npm_${token}`)).toBe('npm');
  expect(finder.inText('npm_s3cr3tValu')).toBeUndefined();
});
