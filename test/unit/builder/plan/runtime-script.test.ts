import { describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { checkRuntimeScript, lintScripts } from '../../../../builder/plan/runtime-script.ts';
import { formatFaults } from '../../../../core/document/format-faults.ts';
import { UserError } from '../../../../core/user-error.ts';

const appYaml =
  'appname: app\nbase: nodejs:26\nentrypoints: {web: {cmd: node a.js}}\nruntime: bin/runtime.sh\n';

function check(text: string | Buffer): string[] {
  const { document, faults } = checkRuntimeScript('runtime.sh', Buffer.from(text));
  return formatFaults(faults, document)
    .split('\n')
    .filter((line) => line.startsWith('runtime.sh:'));
}

describe('a runtime script (builder.md 6, row 37)', () => {
  it.each(['#!/bin/sh\nset -e\necho hi\n', '#! /usr/bin/env bash\n', '#!/bin/sh -eu\n# ünïcode\n'])(
    'is fine: %j',
    (text) => {
      expect(check(text)).toEqual([]);
    },
  );

  it.each([
    ['no first line at all', '', /^runtime\.sh:1:1 error E023 the first line .* \(begin with #!\/bin\/sh\)$/],
    ['no shebang', 'set -e\necho hi\n', /^runtime\.sh:1:1 error E023 the first line does not say/],
    ['a shebang that is not on the first line', '\n#!/bin/sh\n', /^runtime\.sh:1:1 error E023/],
    ['a shebang without a path', '#!sh\n', /^runtime\.sh:1:1 error E023 "#!" needs an absolute path/],
    ['an empty shebang', '#!\n', /^runtime\.sh:1:1 error E023 "#!" needs an absolute path/],
    ['a byte order mark', '\uFEFF#!/bin/sh\n', /^runtime\.sh:1:1 error E023 a byte order mark/],
    [
      'CRLF from its first line on',
      '#!/bin/sh\r\nset -e\r\n',
      /^runtime\.sh:1:10 error E023 the lines end in CR LF/,
    ],
    ['CRLF somewhere', '#!/bin/sh\nset -e\r\n', /^runtime\.sh:2:7 error E023 the lines end in CR LF/],
    ['a NUL byte', '#!/bin/sh\necho \0\n', /^runtime\.sh:2:6 error E023 .* NUL byte/],
    ['a program', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0xff, 0xfe]), /^runtime\.sh:1:1 error E023 .* UTF-8/],
  ])('is refused with its place when it has %s', (_, text, expected) => {
    expect(check(text)).toEqual([expect.stringMatching(expected)]);
  });
});

describe.each(['runtime', 'static'])('the script that %s: names', (key) => {
  const text = appYaml.replace('runtime:', `${key}:`);
  const parsed = parseAppFile('sub/App.yaml', text);
  const lint = (readFile: () => Promise<Uint8Array | undefined>, executable = true) =>
    lintScripts(parsed, { readFile, isExecutable: async () => executable });

  it('is a fault of App.yaml when it is missing or too large', async () => {
    const [missing] = await lint(async () => undefined);
    const [large] = await lint(() => Promise.reject(new UserError('bin/runtime.sh is larger than 1 bytes')));

    expect(missing?.faults).toMatchObject([
      { line: 4, path: key, message: 'there is no file bin/runtime.sh', severity: 'error' },
    ]);
    expect(large?.faults).toMatchObject([{ line: 4, message: expect.stringContaining('larger') }]);
    expect(missing?.document.file).toBe('sub/App.yaml');
  });

  it('has its faults at its own places', async () => {
    const [script] = await lint(async () => Buffer.from('#!/bin/sh\r\n'));

    expect(script?.document.file).toBe('sub/bin/runtime.sh');
    expect(script?.faults).toMatchObject([{ line: 1, column: 10 }]);
  });

  it('is warned of when it is not executable, as it is run all the same', async () => {
    const [script] = await lint(async () => Buffer.from('#!/bin/sh\n'), false);

    expect(script?.faults).toMatchObject([
      { line: 4, severity: 'warning', hint: 'git update-index --chmod=+x bin/runtime.sh' },
    ]);
  });

  it('is nothing to tell of when it is fine, or when there is none', async () => {
    expect(await lint(async () => Buffer.from('#!/bin/sh\n'))).toEqual([]);
    const none = parseAppFile('App.yaml', appYaml.replace(/runtime.*\n/, ''));
    const failing = { readFile: () => Promise.reject(new Error('read')), isExecutable: async () => true };
    expect(await lintScripts(none, failing)).toEqual([]);
  });

  it('that cannot be looked at is no fault of the commit', async () => {
    await expect(lint(() => Promise.reject(new Error('disk')))).rejects.toThrow('disk');
  });
});
