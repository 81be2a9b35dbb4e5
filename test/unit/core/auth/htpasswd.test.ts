import { describe, expect, it } from 'vitest';
import {
  isUserName,
  parseHtpasswd,
  removeHtpasswdUser,
  setHtpasswdUser,
} from '../../../../core/auth/htpasswd.ts';

const tail = 'CwTycUXWue0Thq9StjUM0uJ8Vn1oVYh7tZ0s5Y1mJ3h0b8s1Qe5iG';

describe('htpasswd', () => {
  it.each(['2a', '2b', '2y'])('reads $%s$ hashes', (kind) => {
    expect(parseHtpasswd(`alice:$${kind}$10$${tail}\n`).users.get('alice')).toBe(`$${kind}$10$${tail}`);
  });

  it('keeps comments, empty lines, CRLF and a byte order mark apart from accounts', () => {
    const read = parseHtpasswd(`\uFEFF# accounts\r\n\r\nalice:$2y$05$${tail}\r\n`);

    expect([...read.users.keys()]).toEqual(['alice']);
    expect(read.faults).toEqual([]);
  });

  it.each([
    ['alice:$apr1$abc$def', /MD5/],
    ['alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /SHA-1/],
    ['alice:plain', /only bcrypt is accepted/],
    ['alice:$2b$10$short', /damaged/],
    [`alice:$2b$31$${tail}`, /cost/],
    [`alice:$2b$03$${tail}`, /cost/],
    [`anonymous:$2b$10$${tail}`, /no account name/],
    [`*:$2b$10$${tail}`, /no account name/],
    [`:$2b$10$${tail}`, /no account name/],
    ['alice', /name:hash/],
  ])('"%s" is a fault with its line that does not quote the hash, and lets nobody in', (line, message) => {
    const read = parseHtpasswd(`# first\n${line}\n`);

    expect(read.faults).toEqual([{ line: 2, message: expect.stringMatching(message) }]);
    expect(JSON.stringify(read.faults)).not.toContain(tail);
    expect(read.users.size).toBe(0);
  });

  it('an account that stands twice is a fault, and the first one counts', () => {
    const read = parseHtpasswd(`a:$2b$10$${tail}\na:$2b$12$${tail}\n`);

    expect(read.faults).toEqual([{ line: 2, message: '"a" stands here twice' }]);
    expect(read.users.get('a')).toBe(`$2b$10$${tail}`);
  });

  it('setting a user replaces its line and leaves all others as they are', () => {
    const text = '# ours\nalice:old\nbob:other\n';

    expect(setHtpasswdUser(text, 'alice', 'new')).toBe('# ours\nalice:new\nbob:other\n');
    expect(setHtpasswdUser(text, 'carol', 'new')).toBe('# ours\nalice:old\nbob:other\ncarol:new\n');
    expect(setHtpasswdUser('', 'carol', 'new')).toBe('carol:new\n');
    expect(setHtpasswdUser('bob:other', 'carol', 'new')).toBe('bob:other\ncarol:new\n');
  });

  it('removing a user takes exactly its lines', () => {
    expect(removeHtpasswdUser('al:1\nalice:2\nbob:3\nalice:4\n', 'alice')).toBe('al:1\nbob:3\n');
    expect(removeHtpasswdUser('al:1\n', 'alice')).toBeUndefined();
    expect(removeHtpasswdUser('alice:2\n', 'alice')).toBe('');
  });

  it.each(['anonymous', 'Anonymous', '*', 'a:b', '', 'a b', '.a', 'a\n', 'a/b', 'é', 'x'.repeat(65)])(
    '"%s" is no account name',
    (name) => {
      expect(isUserName(name)).toBe(false);
    },
  );
});
