import { describe, expect, it } from 'vitest';
import { mirrorAddresses } from '../../../../../builder/catalog/sources/mirror-addresses.ts';

describe('the mirrors of a source', () => {
  it.each([
    ['maven: "group:artifact:1"', { maven: 'org.example:tool:1.2' }, 'org/example/tool/1.2/tool-1.2.jar'],
    ['packaging and classifier', { maven: 'g:a:1:tar.gz:bin' }, 'g/a/1/a-1-bin.tar.gz'],
  ])('lie by Maven’s layout: %s', (_, source, path) => {
    const mirrors = { 'maven:': ['https://nexus.example.com/maven', 'https://b.example.com/'] };

    expect(mirrorAddresses({ name: 'x', ...source }, mirrors)).toEqual([
      `https://nexus.example.com/maven/${path}`,
      `https://b.example.com/${path}`,
    ]);
  });

  it('lie by the layout of a registry of npm', () => {
    const mirrors = { 'npm:': ['https://npm.example.com'] };

    expect(mirrorAddresses({ name: 'x', npm: '@a/b@1.0.0' }, mirrors)).toEqual([
      'https://npm.example.com/@a/b/-/b-1.0.0.tgz',
    ]);
  });

  it('take the longest beginning that fits, for addresses and git alike', () => {
    const mirrors = {
      'https://example.org/': ['http://10.0.0.1/all/'],
      'https://example.org/a/': ['http://10.0.0.1/a'],
    };
    const git = { url: 'https://example.org/r.git', commit: '0'.repeat(40) };

    expect(mirrorAddresses({ name: 'x', url: 'https://example.org/a/x.tgz' }, mirrors)).toEqual([
      'http://10.0.0.1/a/x.tgz',
    ]);
    expect(mirrorAddresses({ name: 'x', git }, mirrors)).toEqual(['http://10.0.0.1/all/r.git']);
    expect(mirrorAddresses({ name: 'x', url: 'https://example.com/' }, mirrors)).toEqual([]);
  });
});
