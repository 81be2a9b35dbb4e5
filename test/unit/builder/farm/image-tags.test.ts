import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { tagOfRef, tagsOfBuild } from '../../../../builder/farm/image-tags.ts';
import { isTag } from '../../../../oci/reference.ts';

const suffix = (ref: string): string => createHash('sha256').update(ref).digest('hex').slice(0, 6);

describe('tagOfRef', () => {
  it.each([
    ['refs/heads/main', 'main'],
    ['refs/tags/v1.2.3', 'v1.2.3'],
    ['refs/heads/Release_2.x-final', 'Release_2.x-final'],
  ])('%s becomes %s', (ref, tag) => {
    expect(tagOfRef(ref)).toBe(tag);
  });

  it.each([
    ['refs/heads/feature/login', 'feature-login'],
    ['refs/heads/ünïcode', '-n-code'.replace('-', '_')],
    ['refs/heads/a+b', 'a-b'],
    ['refs/heads/-x', '_x'],
    ['refs/heads/0123456789ab', '0123456789ab'],
    [`refs/heads/${'x'.repeat(120)}`, 'x'.repeat(100)],
  ])('%s becomes %s and a suffix that tells it from others', (ref, start) => {
    const tag = tagOfRef(ref);

    expect(tag).toBe(`${start}-${suffix(ref)}`);
    expect(isTag(tag)).toBe(true);
  });

  it('never gives two different changed names the same tag', () => {
    expect(tagOfRef('refs/heads/a/b')).not.toBe(tagOfRef('refs/heads/a+b'));
  });
});

describe('tagsOfBuild', () => {
  const request = {
    version: 1,
    team: 'team',
    app: 'app',
    ref: 'refs/heads/main',
    commit: 'c'.repeat(40),
    sequence: 1,
    defaultBranch: true,
    pusher: 'dev',
  } as const;

  it('moves latest with the default branch, and names the commit once', () => {
    const tags = tagsOfBuild(request, 'd'.repeat(40));

    expect(tags.moving.map(({ tag }) => tag)).toEqual(['main', 'latest']);
    expect(tags.fixed).toEqual(['dddddddddddd']);
  });

  it('gives a working tree its own tag only', () => {
    const tags = tagsOfBuild(
      { ...request, ref: 'refs/brickyard/x', defaultBranch: false, tag: 'try' },
      'd'.repeat(40),
    );

    expect(tags).toEqual({ moving: [{ tag: 'try', source: 'team/app working tree' }], fixed: [] });
  });

  it('gives a fork’s pull request its own tag only, whatever it was pushed with, and not the commit’s', () => {
    const pull = { ...request, ref: 'refs/brickyard/pr-12', defaultBranch: false, tag: 'latest' };

    expect(tagsOfBuild(pull, 'd'.repeat(40))).toEqual({
      moving: [{ tag: 'pr-12', source: 'team/app refs/brickyard/pr-12' }],
      fixed: [],
    });
  });

  describe('of a package', () => {
    const note = { name: 'a.zip', sha256: 'e'.repeat(64), bytes: 1, files: 1, appfile: 'own' } as const;
    const package_ = { ...request, ref: 'refs/brickyard/package-x', defaultBranch: false, package: note };

    it('moves its own tag, else latest, which no working tree takes, and names its content for ever', () => {
      expect(tagsOfBuild({ ...package_, tag: '1.2' }, 'd'.repeat(40))).toEqual({
        moving: [{ tag: '1.2', source: 'team/app package' }],
        fixed: ['dddddddddddd'],
      });
      expect(tagsOfBuild(package_, 'd'.repeat(40)).moving).toEqual([
        { tag: 'latest', source: 'team/app package' },
      ]);
    });

    it('leaves its tags to the wave that asks for it again', () => {
      const wave = { id: 'w', repository: 'team/app', baseKey: '01234567' };

      expect(tagsOfBuild({ ...package_, wave }, 'd'.repeat(40))).toEqual({
        moving: [],
        fixed: ['dddddddddddd-01234567'],
      });
    });
  });
});
