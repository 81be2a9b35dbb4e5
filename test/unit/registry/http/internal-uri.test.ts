import { describe, expect, it } from 'vitest';
import { internalFileUri, internalStoreUri } from '../../../../registry/http/internal-uri.ts';

describe('internalFileUri', () => {
  it.each([
    ['data/ab/abcdef=', '/_bytes/data/ab/abcdef%3D'],
    ['data/a b/100%?#;=', '/_bytes/data/a%20b/100%25%3F%23%3B%3D'],
    ['data/é/+~/x=', '/_bytes/data/%C3%A9/%2B~/x%3D'],
    ['data/line\nbreak\r=', '/_bytes/data/line%0Abreak%0D%3D'],
  ])('writes %j so that it is decoded to itself', (path, uri) => {
    expect(internalFileUri('/_bytes/', path)).toBe(uri);
    expect(decodeURIComponent(uri)).toBe(`/_bytes/${path}`);
  });

  it.each(['', '/etc/passwd', '../auth/keys=', 'data/../../x', 'data//x', 'data/./x', '..'])(
    'has none for %j',
    (path) => {
      expect(internalFileUri('/_bytes/', path)).toBeUndefined();
    },
  );
});

describe('internalStoreUri', () => {
  it('keeps path and signature as they were signed', () => {
    const address = 'https://s3.test:8443/bucket/pre-fix/data/ab/cd?X-Amz-Signature=1%2F2&a=b';

    expect(internalStoreUri('/_bytes/', address)).toBe(
      '/_bytes/https/s3.test:8443/bucket/pre-fix/data/ab/cd?X-Amz-Signature=1%2F2&a=b',
    );
  });

  it.each([
    'http://s3.test/bucket/a%20b',
    'http://s3.test/bucket/a+b',
    'http://s3.test/bucket//a',
    'http://s3.test/bucket/a;b',
  ])('has none for %s, which a web server would write anew', (address) => {
    expect(internalStoreUri('/_bytes/', address)).toBeUndefined();
  });
});
