import { describe, expect, it } from 'vitest';
import { createPackageTree } from '../../../../builder/package/package-tree.ts';

describe('the tree of a package', () => {
  it('takes names up to a bound, whatever their number', () => {
    const tree = createPackageTree();
    const long = `${'x'.repeat(200)}/`.repeat(19);

    expect(() => {
      for (let index = 0; index < 20_000; index += 1) {
        tree.claim({ type: 'directory', path: `${long}${index}`, mode: 0o755 });
      }
    }).toThrow('its names take more than 67108864 bytes');
  });

  it('has no top when that is a file', () => {
    const tree = createPackageTree();
    tree.place(tree.claim({ type: 'file', path: 'only', mode: 0o644 }), { kind: 'file', content: 1 });

    expect(tree.top()).toBeUndefined();
    expect(tree.names('')).toEqual(['only']);
  });
});
