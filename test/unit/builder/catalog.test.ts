import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildKey, recipeKey } from '../../../builder/catalog/build-key.ts';
import { catalogFaultsError, checkCatalog, loadCatalog } from '../../../builder/catalog/catalog.ts';
import { textFile } from '../../../builder/catalog/file-tree.ts';
import { parseDocument } from '../../../core/document/parse-document.ts';
import { digestOf } from '../../../oci/digest.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const bottom = 'name: base\nversion: "12"\nchannels: ["12"]\ndebian: {suite: bookworm, packages: [dash]}\n';

function entry(name: string, parent: string): string {
  return `name: ${name}\nversion: "1"\nchannels: ["1"]\nparent: ${parent}\n`;
}

function check(texts: readonly string[]) {
  return checkCatalog(
    texts.map((text, index) => ({
      document: parseDocument(`${index}/base.yaml`, text),
      directory: String(index),
    })),
  );
}

/** `file:line code` of every fault. */
function faultsOf(texts: readonly string[]): string[] {
  return check(texts).faults.flatMap(({ document, faults }) =>
    faults.map((fault) => `${document.file}:${fault.line}:${fault.column} ${fault.code}`),
  );
}

describe('the catalog', () => {
  it('puts parents before children and names the repository of each', () => {
    const { entries, faults } = check([
      entry('app', 'jdk:1'),
      entry('jdk', 'base:12'),
      bottom,
      entry('a', 'base:12'),
    ]);

    expect(faults).toEqual([]);
    expect(entries.map(({ repository }) => repository)).toEqual([
      'baseimages/base',
      'baseimages/a',
      'baseimages/jdk',
      'baseimages/app',
    ]);
  });

  it.each([
    ['a parent that is not there', [bottom, entry('jdk', 'bse:12')], ['1/base.yaml:4:9 E304']],
    ['an entry that is its own parent', [bottom, entry('jdk', 'jdk:1')], ['1/base.yaml:4:9 E303']],
    [
      'a circle',
      [bottom, entry('a', 'b:1'), entry('b', 'a:1'), entry('c', 'a:1')],
      ['1/base.yaml:4:9 E306', '2/base.yaml:4:9 E306'],
    ],
    ['a channel that the parent does not have', [bottom, entry('jdk', 'base:13')], ['1/base.yaml:4:9 E305']],
    ['two entries of one name', [bottom, bottom], ['1/base.yaml:1:7 E301']],
    ['an entry on nothing', ['name: a\nversion: "1"\nchannels: ["1"]\n'], ['0/base.yaml:1:7 E302']],
    [
      'an entry on two things',
      [`${bottom}parent: base:12\n`],
      ['0/base.yaml:1:7 E302', '0/base.yaml:5:9 E303'],
    ],
  ])('refuses %s, with its place (builder.md 6, row 31)', (_, texts, expected) => {
    expect(faultsOf(texts)).toEqual(expected);
    expect(check(texts).entries).toEqual([]);
  });

  it('refuses the ninth level and accepts the eighth (row 31)', () => {
    const chain = (levels: number) => [
      bottom,
      ...Array.from({ length: levels - 1 }, (_, index) =>
        entry(`l${index + 2}`, index === 0 ? 'base:12' : `l${index + 1}:1`),
      ),
    ];

    expect(faultsOf(chain(8))).toEqual([]);
    expect(faultsOf(chain(9))).toEqual(['8/base.yaml:4:9 E307']);
  });

  it('accepts a diamond of names, since every entry has one parent (row 31)', () => {
    expect(faultsOf([bottom, entry('a', 'base:12'), entry('b', 'base:12'), entry('c', 'a:1')])).toEqual([]);
  });

  it.each([
    ['an unknown key', `${bottom}extra: 1\n`, 'E010'],
    ['a version that YAML reads as a number', bottom.replace('"12"', '12'), 'E012'],
    [
      'an image without digest',
      'name: a\nversion: "1"\nchannels: ["1"]\nimage: docker.io/library/debian:12\n',
      'E013',
    ],
    ['a package name with a shell in it', bottom.replace('dash', '"-o x"'), 'E013'],
    ['a name with a slash', bottom.replace('name: base', 'name: ../base'), 'E013'],
  ])('refuses %s', (_, text, code) => {
    expect(faultsOf([text])[0]).toMatch(new RegExp(`${code}$`));
  });

  it('reads the folders that hold a base.yaml and shows faults with file and line', async () => {
    await using folder = await createTempDirectory('catalog');
    await mkdir(join(folder.path, 'jdk'));
    await mkdir(join(folder.path, 'notes'));
    await writeFile(join(folder.path, 'README.md'), '');
    await writeFile(join(folder.path, 'jdk/base.yaml'), entry('jdk', 'base:12'));

    const catalog = await loadCatalog(folder.path);

    expect(catalogFaultsError(catalog, folder.path).message).toContain('jdk/base.yaml:4:9');
  });

  it('finds nothing wrong with the catalog that ships', async () => {
    const { entries, faults } = await loadCatalog(join(import.meta.dirname, '../../../baseimages'));

    expect(faults).toEqual([]);
    expect(entries.map(({ file }) => file.name)).toEqual(['base', 'nodejs']);
  });
});

describe('the key of a recipe', () => {
  const [base] = check([bottom]).entries;
  if (base === undefined) throw new Error('no entry');
  const input = {
    entry: base,
    staticFiles: [textFile('a', 'x')],
    parent: digestOf('p'),
    architecture: 'amd64',
  };
  const key = recipeKey(input);

  it('stays when only the order of keys in base.yaml changes', () => {
    const [other] = check([bottom.split('\n').reverse().join('\n')]).entries;

    expect(recipeKey({ ...input, entry: other ?? base })).toBe(key);
  });

  it.each([
    ['base.yaml', { entry: check([bottom.replace('dash', 'bash')]).entries[0] ?? base }],
    ['the parent', { parent: digestOf('q') }],
    ['a static file', { staticFiles: [textFile('a', 'y')] }],
    ['the mode of a static file', { staticFiles: [textFile('a', 'x', 0o755)] }],
    ['the architecture', { architecture: 'arm64' }],
  ])('changes with %s', (_, change) => {
    expect(recipeKey({ ...input, ...change })).not.toBe(key);
  });

  it('gives another build key when other packages were fetched', () => {
    expect(buildKey(key, ['dash 1'])).not.toBe(buildKey(key, ['dash 2']));
  });
});
