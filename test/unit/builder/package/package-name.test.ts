import { describe, expect, it } from 'vitest';
import { parsePackageName } from '../../../../builder/package/package-name.ts';

describe('the file name of a package', () => {
  it.each([
    ['shop-1.2.war', 'war', 'shop', '1.2'],
    ['shop-web-1.2.3-SNAPSHOT.jar', 'jar', 'shop-web', '1.2.3-SNAPSHOT'],
    ['shop_v2026.tgz', 'archive', 'shop', '2026'],
    ['shop-1.0+build.7.tar.gz', 'archive', 'shop', '1.0_build.7'],
    ['shop.TAR', 'archive', 'shop', undefined],
    ['log4j2-2fa.zip', 'archive', 'log4j2-2fa', undefined],
    ['商店-3.zip', 'archive', '商店', '3'],
  ])('%s says kind, stem and tag', (file, kind, stem, tag) => {
    expect(parsePackageName(file)).toEqual({ file, kind, stem, ...(tag === undefined ? {} : { tag }) });
  });

  it.each([
    'shop',
    'shop.rpm',
    '.war',
    '-rf.jar',
    'a/b.war',
    '..\\b.war',
    'a\nb.war',
    `${'x'.repeat(200)}.war`,
  ])('%j is none', (file) => {
    expect(parsePackageName(file)).toBeUndefined();
  });
});
