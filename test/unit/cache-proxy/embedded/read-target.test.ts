import { describe, expect, it } from 'vitest';
import { readTarget } from '../../../../cache-proxy/embedded/read-target.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { makePool } from '../../../helpers/pool.ts';

const digest = digestOf('a');
const upstream = { ns: 'docker.io', urls: ['https://hub.test'], allow: [], deny: [] };
const pool = makePool({
  folder: '/nowhere',
  listen: '127.0.0.1:5096',
  origin: ['https://origin.test'],
  upstreams: [upstream],
});

describe('what a request is about', () => {
  it.each([
    [`/v2/team/app/blobs/${digest}`, { kind: 'blob', repository: 'team/app', digest }],
    [`/v2/app/manifests/${digest}`, { kind: 'manifest', repository: 'app', digest }],
    ['/v2/a/manifests/v1.0_x-y', { kind: 'tag', repository: 'a', tag: 'v1.0_x-y' }],
    ['/v2/a/manifests/manifests/v1', { kind: 'tag', repository: 'a/manifests', tag: 'v1' }],
    ['/v2/a/manifests/v1?ns=origin.test', { kind: 'tag', repository: 'a', tag: 'v1' }],
    [
      '/v2/library/x/manifests/v1?ns=docker.io',
      { kind: 'tag', repository: 'library/x', tag: 'v1', upstream },
    ],
    ['/v2/docker.io/library/x/manifests/v1', { kind: 'tag', repository: 'library/x', tag: 'v1', upstream }],
    ['/v2/', { kind: 'agent' }],
    ['/v2', { kind: 'agent' }],
    ['/token?scope=repository:a:pull', { kind: 'agent' }],
  ])('%s', (url, target) => {
    expect(readTarget(pool, url)).toEqual(target);
  });

  it.each([
    '/v2/_catalog?n=5',
    '/v2/a/tags/list?last=%2F',
    `/v2/a/referrers/${digest}?artifactType=x`,
    '/v2/a/b/blobs/uploads/',
    `/v2/a/blobs/uploads/?mount=${digest}&from=b`,
    '/v2/a/blobs/uploads/123e4567-e89b-12d3-a456-426614174000?_state=abc%3D',
  ])('%s is the origin’s', (url) => {
    expect(readTarget(pool, url)).toEqual({ kind: 'pass' });
  });

  it.each([
    '/',
    '/metrics',
    '/_pool/status',
    '/v2/../authz',
    '/v2/a/b',
    '/v2/a/blobs/sha256:abc',
    `/v2/a/blobs/${digest.toUpperCase()}`,
    `/v2/a/blobs/${encodeURIComponent(digest)}`,
    `/v2/a//blobs/${digest}`,
    `/v2//a/blobs/${digest}`,
    `/v2/a/../b/blobs/${digest}`,
    `/v2/a/./blobs/${digest}`,
    `/v2/a%2fb/blobs/${digest}`,
    `/v2/a/%2e%2e/b/blobs/${digest}`,
    `/v2/A/blobs/${digest}`,
    `/v2/a/blobs/${digest}/`,
    `/v2/a/blobs/uploads/..%2f..%2fb`,
    `/v2/a/blobs/uploads/%252e%252e`,
    '/v2/a/blobs/uploads/x%0d%0ay',
    '/v2/a/manifests/-x',
    '/v2/a/manifests/v1?ns=docker.io&ns=origin.test',
    '/v2/a/manifests/v1?ns=elsewhere.test',
    '/v2/library/x/tags/list?ns=docker.io',
    '/v2/docker.io/library/x/blobs/uploads/',
    'http://origin.test/v2/a/manifests/v1',
    `/v2/${'a'.repeat(300)}/manifests/v1`,
  ])('%s is nothing', (url) => {
    expect(readTarget(pool, url)).toEqual({ kind: 'unknown' });
  });
});
