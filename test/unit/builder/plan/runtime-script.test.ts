import { describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { checkRuntimeScript, lintRuntimeScript } from '../../../../builder/plan/runtime-script.ts';
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

describe('the script that runtime: names', () => {
  const parsed = parseAppFile('App.yaml', appYaml);
  const lint = (read: () => Promise<Uint8Array | undefined>) => lintRuntimeScript(parsed, read);

  it('is a fault of App.yaml when it is missing or too large', async () => {
    const missing = await lint(async () => undefined);
    const large = await lint(() => Promise.reject(new UserError('bin/runtime.sh is larger than 1 bytes')));

    expect(missing?.faults).toMatchObject([
      { line: 4, path: 'runtime', message: 'there is no file bin/runtime.sh' },
    ]);
    expect(large?.faults).toMatchObject([{ line: 4, message: expect.stringContaining('larger') }]);
    expect(missing?.document.file).toBe('App.yaml');
  });

  it('is nothing to tell of when it is fine, or when there is none', async () => {
    expect(await lint(async () => Buffer.from('#!/bin/sh\n'))).toBeUndefined();
    const none = parseAppFile('App.yaml', appYaml.replace(/runtime.*\n/, ''));
    expect(await lintRuntimeScript(none, () => Promise.reject(new Error('read')))).toBeUndefined();
  });

  it('that cannot be looked at is no fault of the commit', async () => {
    await expect(lint(() => Promise.reject(new Error('disk')))).rejects.toThrow('disk');
  });
});
