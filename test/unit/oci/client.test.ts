import { describe, expect, it } from 'vitest';
import { parseChallenge } from '../../../oci/client/token.ts';
import { addressOfUpload, uploadIdOf } from '../../../oci/client/upload-id.ts';

const registry = new URL('https://registry.test');

describe('parseChallenge', () => {
  it('reads quoted and bare parameters', () => {
    expect(
      parseChallenge('Bearer realm="https://a.test/token",service=reg,scope="repository:a:pull,push"'),
    ).toEqual({
      scheme: 'bearer',
      parameters: { realm: 'https://a.test/token', service: 'reg', scope: 'repository:a:pull,push' },
    });
  });

  it('keeps escaped quotes within their value, and takes no name for a prototype', () => {
    const challenge = parseChallenge('Bearer realm="a\\"b", __proto__="x"');
    expect(challenge?.parameters['realm']).toBe('a"b');
    expect('x' in {}).toBe(false);
  });

  it.each([undefined, '', '  ', '"'])('is undefined for %s', (header) => {
    expect(parseChallenge(header)).toBeUndefined();
  });
});

describe("an upload session's id", () => {
  it('is the last part of a plain Location', () => {
    expect(uploadIdOf('/v2/a/b/blobs/uploads/x-1', registry, 'a/b')).toBe('x-1');
    expect(addressOfUpload(registry, 'a/b', 'x-1').href).toBe(
      'https://registry.test/v2/a/b/blobs/uploads/x-1',
    );
  });

  it('holds the state that a registry keeps in its Location', () => {
    const id = uploadIdOf('/v2/a/blobs/uploads/x?_state=s%3D', registry, 'a') ?? '';
    expect(id).toMatch(/^~[A-Za-z0-9_-]+$/);
    expect(addressOfUpload(registry, 'a', id).href).toBe(
      'https://registry.test/v2/a/blobs/uploads/x?_state=s%3D',
    );
  });

  it('is refused for another server, whose Location would get our credentials', () => {
    expect(uploadIdOf('https://evil.test/v2/a/blobs/uploads/x', registry, 'a')).toBeUndefined();
    expect(uploadIdOf('http://registry.test/v2/a/blobs/uploads/x', registry, 'a')).toBeUndefined();
  });

  it.each([
    '~',
    '../x',
    'a/b',
    '',
    '%2e%2e',
    `~${Buffer.from('//evil.test/v2/a/blobs/uploads/x').toString('base64url')}`,
    `~${Buffer.from('/v2/other/blobs/uploads/x').toString('base64url')}`,
  ])('%s that nobody gave out is BLOB_UPLOAD_UNKNOWN', (id) => {
    expect(() => addressOfUpload(registry, 'a', id)).toThrow(
      expect.objectContaining({ code: 'BLOB_UPLOAD_UNKNOWN' }),
    );
  });
});
