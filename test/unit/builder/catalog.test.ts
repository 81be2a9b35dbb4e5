import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildKey, recipeKey } from '../../../builder/catalog/build-key.ts';
import { catalogFaultsError, findEntry } from '../../../builder/catalog/catalog.ts';
import { createCatalogChecker } from '../../../builder/catalog/check-catalog.ts';
import { textFile } from '../../../builder/catalog/file-tree.ts';
import { loadCatalog } from '../../../builder/catalog/load-catalog.ts';
import { parseDocument } from '../../../core/document/parse-document.ts';
import { digestOf } from '../../../oci/digest.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const checkCatalog = createCatalogChecker();

const bottom = 'name: base\nversion: "12"\nchannels: ["12"]\ndebian: {suite: bookworm, packages: [dash]}\n';

function entry(name: string, parent: string): string {
  return `name: ${name}\nversion: "1"\nchannels: ["1"]\nparent: ${parent}\n`;
}

/** An entry with one source: its place, and its checksum or nothing. */
function source(place: string, checksum = `sha256: ${'a'.repeat(64)}`): string {
  return `${bottom}sources:\n  - name: x\n    ${place}\n${checksum === '' ? '' : `    ${checksum}\n`}`;
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
    ['two entries of one name and channel', [bottom, bottom], ['1/base.yaml:3:12 E301']],
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

  it.each([
    ['packages without a parent', `${bottom}packages: {apt: [openssl]}\n`, 'base.yaml:5:1 E308'],
    [
      'a source of two places',
      source('maven: "g:a:1"\n    url: "https://example.org/x"'),
      'base.yaml:8:10 E309',
    ],
    ['a source of no place', source('size: 3'), 'base.yaml:6:5 E309'],
    ['a source without a checksum', source('maven: "g:a:1"', ''), 'base.yaml:6:5 E309'],
    ['a checksum of capitals', source('maven: "g:a:1"', `sha256: ${'A'.repeat(64)}`), 'base.yaml:8:13 E013'],
    ['an address without TLS', source('url: http://example.org/x'), 'base.yaml:7:10 E013'],
    ['an address with a password', source('url: https://me:secret@example.org/x'), 'base.yaml:7:10 E013'],
    ['half a commit id', source('git: {url: "https://example.org/x", commit: 0abc}'), 'base.yaml:7:49 E013'],
    [
      'a place outside of the root',
      source('npm: a@1\n    unpack: {"": /opt/../../x}'),
      'base.yaml:8:18 E013',
    ],
    ['a path out of the archive', source('npm: a@1\n    unpack: {"../x": /opt}'), 'base.yaml:8:14 E013'],
    [
      'unpacking what is no archive',
      source('url: https://example.org/x\n    unpack: {"": /opt}'),
      'base.yaml:8:5 E309',
    ],
    [
      'a day that does not exist',
      `${bottom}deprecation: {level: warn, since: 2026-02-30}\n`,
      'base.yaml:5:35 E311',
    ],
    [
      'an end before the beginning',
      `${bottom}deprecation: {level: warn, since: 2026-02-03, sunset: 2026-02-02}\n`,
      'base.yaml:5:55 E311',
    ],
    [
      'a replacement that is not there',
      `${bottom}deprecation: {level: warn, replacement: "bse:12"}\n`,
      'base.yaml:5:41 E304',
    ],
  ])('refuses %s, with its place', (_, text, expected) => {
    expect(faultsOf([text])).toEqual([`0/${expected}`]);
  });

  it('accepts a source without a checksum in an untested entry, and one name for two architectures', () => {
    const two = ['amd64', 'arm64'].map(
      (architecture) =>
        `  - {name: x, url: "https://example.org/${architecture}", architectures: [${architecture}]}\n`,
    );

    expect(faultsOf([`${bottom}untested: nobody could reach it\nsources:\n${two.join('')}`])).toEqual([]);
  });

  it('has several versions of one name, each with channels of its own', () => {
    const jdk = (channels: string) => `name: jdk\nversion: "1"\nchannels: ${channels}\nparent: base:12\n`;
    const { entries, faults } = check([bottom, jdk('["17", "latest"]'), jdk('["8"]'), entry('app', 'jdk:8')]);

    expect(faults).toEqual([]);
    expect(entries.map(({ id, parent }) => `${id} on ${parent}`)).toEqual([
      'base:12 on undefined',
      'jdk:8 on base:12',
      'app:1 on jdk:8',
      'jdk:17 on base:12',
    ]);
    expect(findEntry(entries, 'jdk').id).toBe('jdk:17');
    expect(findEntry(entries, 'jdk:latest').id).toBe('jdk:17');
    expect(findEntry(entries, 'jdk:8').id).toBe('jdk:8');
    expect(findEntry(entries, 'app').id).toBe('app:1');
    expect(() => findEntry(entries, 'jdk:11')).toThrow('it has jdk:8, jdk:17, jdk:latest');
    expect(() => findEntry(entries, 'jkd')).toThrow('did you mean jdk?');
    expect(() =>
      findEntry(
        entries.filter(({ id }) => id === 'jdk:8').flatMap((e) => [e, { ...e }]),
        'jdk',
      ),
    ).toThrow('several versions');
  });

  it('lets an entry of a catalog above stand in for one below, and says so', () => {
    const texts = [
      bottom,
      entry('jdk', 'base:12'),
      entry('jdk', 'base:12').replace('version: "1"', 'version: ours'),
    ];
    const { entries, faults } = checkCatalog(
      texts.map((text, index) => ({
        document: parseDocument(`${index}/base.yaml`, text),
        directory: String(index),
        rank: index === 2 ? 1 : 0,
      })),
    );

    expect(entries.map(({ file }) => file.version)).toEqual(['12', 'ours']);
    expect(faults.flatMap((f) => f.faults.map(({ severity, message }) => `${severity} ${message}`))).toEqual([
      'info it stands in for jdk:1 of 1/base.yaml',
    ]);
  });

  it('reads the folders that hold a base.yaml and shows faults with file and line', async () => {
    await using folder = await createTempDirectory('catalog');
    await mkdir(join(folder.path, 'jdk'));
    await mkdir(join(folder.path, 'notes'));
    await writeFile(join(folder.path, 'README.md'), '');
    await mkdir(join(folder.path, 'tomcat/10/static'), { recursive: true });
    await writeFile(join(folder.path, 'jdk/base.yaml'), entry('jdk', 'base:12'));
    await writeFile(join(folder.path, 'tomcat/10/base.yaml'), entry('tomcat', 'jdk:2'));
    await writeFile(join(folder.path, 'tomcat/10/static/base.yaml'), 'a file of the image');

    const { message } = catalogFaultsError(await loadCatalog(folder.path), folder.path);

    expect(message).toContain('jdk/base.yaml:4:9');
    expect(message).toContain('tomcat/10/base.yaml:4:9');
    expect(message).not.toContain('static');
  });

  it('finds nothing wrong with the catalog that ships', async () => {
    const { entries, faults } = await loadCatalog(join(import.meta.dirname, '../../../baseimages'));

    expect(faults).toEqual([]);
    expect(entries.length).toBeGreaterThan(5);
    const untested = entries.filter(({ file }) => file.untested !== undefined);
    expect(untested.map(({ id }) => id)).toEqual(['jdk:11', 'jdk:21', 'jdk:8']);
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
