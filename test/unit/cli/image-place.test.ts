import { describe, expect, it } from 'vitest';
import { formatPlace, parseImagePlace } from '../../../cli/image-place.ts';
import { digestOf } from '../../../oci/digest.ts';

const digest = digestOf('x');
const env = { BRICKYARD_SERVER: 'https://ours.example' };

describe('the place of an image', () => {
  it.each([
    ['team/app', { url: 'https://ours.example', repository: 'team/app' }],
    ['team/app:1.0', { url: 'https://ours.example', repository: 'team/app', tag: '1.0' }],
    [`app@${digest}`, { url: 'https://ours.example', repository: 'app', digest }],
    ['127.0.0.1:5000/app', { url: 'http://127.0.0.1:5000', repository: 'app' }],
    ['localhost/app:1', { url: 'http://localhost', repository: 'app', tag: '1' }],
    ['quay.io/team/app:1', { url: 'https://quay.io', repository: 'team/app', tag: '1' }],
    ['registry:5000/app', { url: 'https://registry:5000', repository: 'app' }],
    ['http://registry:5000/team/app:1', { url: 'http://registry:5000', repository: 'team/app', tag: '1' }],
    ['http://registry/app', { url: 'http://registry', repository: 'app' }],
    ['docker.io/nginx:1', { url: 'https://registry-1.docker.io', repository: 'library/nginx', tag: '1' }],
    ['docker.io/team/app', { url: 'https://registry-1.docker.io', repository: 'team/app' }],
    // A mirrored repository is ours.
    [
      '127.0.0.1:5000/docker.io/library/nginx',
      { url: 'http://127.0.0.1:5000', repository: 'docker.io/library/nginx' },
    ],
  ] as const)('%s', (text, place) => {
    expect(parseImagePlace({ env }, text, undefined)).toEqual(place);
  });

  it.each([
    '',
    'Team/App',
    'app:',
    'app@sha256:1',
    'http://registry',
    'https:///app',
    'http://a:1/b:2/c',
    '../app',
    'a b',
  ])('"%s" is none', (text) => {
    expect(() => parseImagePlace({ env }, text, undefined)).toThrow(/is no image/);
  });

  it('is written without the scheme, as docker does', () => {
    expect(formatPlace({ url: 'https://quay.io', repository: 'team/app' }, ':1')).toBe('quay.io/team/app:1');
  });
});
