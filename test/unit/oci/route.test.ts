import { describe, expect, it } from 'vitest';
import { formatRoute, parseRoute } from '../../../oci/route.ts';

describe('parseRoute', () => {
  it.each([
    ['/v2', { kind: 'base' }],
    ['/v2/', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    ['/v2/team/web/app/manifests/1', { kind: 'manifest', repository: 'team/web/app', reference: '1' }],
    ['/v2/a/manifests/sha256%3Aab', { kind: 'manifest', repository: 'a', reference: 'sha256:ab' }],
    ['/v2/a/blobs/sha256:ab', { kind: 'blob', repository: 'a', digest: 'sha256:ab' }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads/xyz', { kind: 'upload', repository: 'a', id: 'xyz' }],
    ['/v2/a/referrers/sha256:ab', { kind: 'referrers', repository: 'a', digest: 'sha256:ab' }],
    ['/v2/team%2Fapp/tags/list', { kind: 'tags', repository: 'team/app' }],
  ])('reads %s', (path, route) => {
    expect(parseRoute(path)).toEqual(route);
  });

  it.each([
    [
      '/v2/a/blobs/uploads/b/manifests/1',
      { kind: 'manifest', repository: 'a/blobs/uploads/b', reference: '1' },
    ],
    [
      '/v2/manifests/manifests/manifests',
      { kind: 'manifest', repository: 'manifests', reference: 'manifests' },
    ],
    ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list' }],
    ['/v2/referrers/blobs/uploads/', { kind: 'uploads', repository: 'referrers' }],
    ['/v2/a/blobs/uploads/blobs/uploads/x', { kind: 'upload', repository: 'a/blobs/uploads', id: 'x' }],
    ['/v2/blobs/blobs/sha256:ab', { kind: 'blob', repository: 'blobs', digest: 'sha256:ab' }],
  ])('takes reserved words as parts of a name: %s', (path, route) => {
    expect(parseRoute(path)).toEqual(route);
  });

  it.each([
    '/',
    '/v1/',
    '/v2x/a/tags/list',
    '/v22',
    '/v2/tags/list',
    '/v2/manifests/latest',
    '/v2/a/tags',
    '/v2/a/tags/',
    '/v2/a/uploads/x',
    '/v2/a/b',
    '/v2//',
    '/v2/%',
    '/v2/%ff/manifests/x',
    '/v2/_catalog/',
  ])('knows no end %s', (path) => {
    expect(parseRoute(path)).toBeUndefined();
  });

  it('decodes once only, so that what was encoded twice stays foreign', () => {
    expect(parseRoute('/v2/a%252Fb/manifests/1')).toEqual({
      kind: 'manifest',
      repository: 'a%2Fb',
      reference: '1',
    });
  });

  it.each([
    { kind: 'base' as const },
    { kind: 'catalog' as const },
    { kind: 'blob' as const, repository: 'a/b', digest: 'sha256:ab' },
    { kind: 'uploads' as const, repository: 'a/b' },
    { kind: 'upload' as const, repository: 'a/b', id: 'x-1' },
    { kind: 'manifest' as const, repository: 'a/b', reference: 'latest' },
    { kind: 'tags' as const, repository: 'a/b' },
    { kind: 'referrers' as const, repository: 'a/b', digest: 'sha256:ab' },
  ])('reads back what formatRoute wrote: $kind', (route) => {
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });
});
