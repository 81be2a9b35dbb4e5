import { createHash, createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { appOfPath } from '../../../cli/hook/find-repository.ts';
import { hmacPads } from '../../../cli/hook/hook-home.ts';
import { shellWord } from '../../../cli/hook/shell-text.ts';

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

describe('the two forms of a secret that a hook signs with', () => {
  it.each(['short and sweet secret', 'x'.repeat(64), 'y'.repeat(65), 'ünï', 'z'.repeat(500)])(
    'give the HMAC of %s by checksums alone',
    (secret) => {
      const { inner, outer } = hmacPads(secret);
      const message = Buffer.from('1767225600.abc.{}');

      const signature = sha256(outer, sha256(inner, message)).toString('hex');

      expect(signature).toBe(createHmac('sha256', secret).update(message).digest('hex'));
    },
  );
});

describe('what a repository becomes', () => {
  it.each([
    ['/srv/git/shop/web.git', 'shop/web'],
    ['/srv/git/shop/web/.git', 'shop/web'],
    ['/srv/svn/shop', 'svn/shop'],
    ['/srv/Git/Web.git', undefined],
    ['/', undefined],
  ])('%s is %s', (path, app) => {
    expect(appOfPath(path)).toBe(app);
  });

  it('stands in a script as one word, whatever is in it', () => {
    expect(shellWord(`a'b "$c" \`d\``)).toBe(`'a'\\''b "$c" \`d\`'`);
  });
});
