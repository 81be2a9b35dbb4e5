import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lintCatalog } from '../../../../builder/catalog/lint-catalog.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

const base = 'name: base\nversion: "12"\nchannels: ["12"]\ndebian: {suite: bookworm, packages: [dash]}\n';
const child = 'name: child\nversion: "1"\nchannels: ["1"]\nparent: base:12\n';
const sha256 = 'a'.repeat(64);

/** `file:line:column code` of every fault in a catalog of these files. */
async function lint(files: Readonly<Record<string, string>>): Promise<string[]> {
  await using folder = await createTempDirectory('lint');
  for (const [name, text] of Object.entries({ 'base/base.yaml': base, ...files })) {
    await mkdir(join(folder.path, dirname(name)), { recursive: true });
    await writeFile(join(folder.path, name), text);
  }
  const linted = await lintCatalog(folder.path);
  return linted.files.flatMap(({ document, faults }) =>
    faults.map(
      (fault) => `${relative(folder.path, document.file)}:${fault.line}:${fault.column} ${fault.code}`,
    ),
  );
}

describe('base lint', () => {
  it('tells all faults of all files at once, scripts included (builder.md 6, rows 31 and 37)', async () => {
    expect(
      await lint({
        'catalog.yaml': 'miror: {}\n',
        'child/base.yaml': `${child}runtime: {order: 10}\n`,
        'child/static.sh': '#!/bin/sh\r\ntrue\r\n',
        'other/8/base.yaml': 'name: other\nversion: 8\nchannels: ["8"]\nparent: base:12\n',
        'other/8/runtime.sh': 'echo no shebang\n',
        'on/base.yaml': 'name: on\nversion: "1"\nchannels: ["1"]\nparent: other:8\n',
        'round/base.yaml': 'name: round\nversion: "1"\nchannels: ["1"]\nparent: round:1\n',
      }),
    ).toEqual([
      'catalog.yaml:1:1 E010',
      'child/base.yaml:5:1 E310',
      'child/static.sh:1:10 E310',
      'other/8/base.yaml:2:10 E012',
      'other/8/runtime.sh:1:1 E310',
      'round/base.yaml:4:9 E303',
    ]);
  });

  it.each([
    [
      'a runtime script that nobody asks for',
      { 'child/base.yaml': child, 'child/runtime.sh': '#!/bin/sh\n' },
      '1:7 W301',
    ],
    [
      'a source that nobody uses',
      { 'child/base.yaml': `${child}sources:\n  - {name: x, maven: "g:a:1", sha256: ${sha256}}\n` },
      '6:12 W301',
    ],
    [
      'a parent that is deprecated',
      { 'base/base.yaml': `${base}deprecation: {level: warn}\n`, 'child/base.yaml': child },
      '4:9 W301',
    ],
  ])('warns of %s', async (_, files, expected) => {
    expect(await lint(files)).toEqual([`child/base.yaml:${expected}`]);
  });

  it('refuses a script at the bottom', async () => {
    expect(await lint({ 'base/static.sh': '#!/bin/sh\n' })).toEqual(['base/base.yaml:1:7 E310']);
  });

  it('holds entries to the policy of their own catalog', async () => {
    const source = (host: string) =>
      `  - {name: ${host}, url: "https://${host}/x", sha256: ${sha256}, unpack: {".": /opt/x}}\n`;

    expect(
      await lint({
        'catalog.yaml': 'policy: {hosts: [example.com], require: [owners]}\n',
        'child/base.yaml': `${child}owners: [us]\nsources:\n${source('a.example.com')}${source('notexample.com')}`,
      }),
    ).toEqual(['base/base.yaml:1:7 E312', 'child/base.yaml:8:33 E312']);
  });
});
