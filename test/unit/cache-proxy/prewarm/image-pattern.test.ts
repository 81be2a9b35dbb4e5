import { describe, expect, it } from 'vitest';
import { compileImagePattern, matchesImage } from '../../../../cache-proxy/prewarm/image-pattern.ts';

const namespaces = ['docker.io'];

describe('a pattern over images', () => {
  it.each<[string, string, string, boolean]>([
    ['base/**', 'base/jdk', '17', true],
    ['base/**', 'team/base', '17', false],
    ['team-a/api:*', 'team-a/api', 'v1', true],
    ['team-a/api:v1.*', 'team-a/api', 'v1.20', true],
    ['team-a/api:v1.*', 'team-a/api', 'v2.0', false],
    ['team-*/api:latest', 'team-b/api', 'latest', true],
    ['team-*/api:latest', 'team-b/api', 'latest2', false],
  ])('%s and %s:%s: %s', (text, repository, tag, expected) => {
    const pattern = compileImagePattern(text, namespaces);

    expect(pattern === undefined ? undefined : matchesImage(pattern, { repository, tag })).toBe(expected);
  });

  it('with a registry’s name in front is about that registry alone', () => {
    const pattern = compileImagePattern('docker.io/library/nginx:1', namespaces);

    expect(pattern).toMatchObject({ ns: 'docker.io', repository: 'library/nginx', tag: '1' });
    expect(pattern && matchesImage(pattern, { repository: 'library/nginx', tag: '1' })).toBe(false);
    expect(pattern && matchesImage(pattern, { ns: 'docker.io', repository: 'library/nginx', tag: '1' })).toBe(
      true,
    );
  });

  it('names one repository and tag only where it can mean no other', () => {
    expect(compileImagePattern('base/**')).not.toHaveProperty('repository');
    expect(compileImagePattern('base/jdk')).toMatchObject({ repository: 'base/jdk' });
    expect(compileImagePattern('base/jdk')).not.toHaveProperty('tag');
  });

  it.each(['Base/x', 'a**', 'a/b:', 'a/b:c d', 'a//b', ''])('%j is none', (text) => {
    expect(compileImagePattern(text)).toBeUndefined();
  });
});
