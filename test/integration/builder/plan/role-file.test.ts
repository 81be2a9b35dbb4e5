import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Role } from '../../../../builder/plan/plan.ts';
import { roleFile } from '../../../../builder/plan/role-file.ts';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'brickyard-role-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** Sources a role's file as the launcher does and gives back what the program was started with. */
function start(role: Partial<Role>, ...more: string[]): { argv: string[]; value: string; cwd: string } {
  const file = join(directory, 'web');
  const print =
    'process.stdout.write(JSON.stringify({argv: process.argv.slice(1), value: process.env.VALUE ?? "", cwd: process.cwd()}))';
  const full: Role = {
    name: 'web',
    environment: {},
    workingDirectory: directory,
    user: 'app',
    ports: [],
    ...role,
    command: [process.execPath, '-e', print, '--', ...(role.command ?? [])],
  };
  writeFileSync(file, roleFile(full));
  const stdout = execFileSync('/bin/sh', ['-c', '. "$0"', file, ...more], { encoding: 'utf8' });
  return JSON.parse(stdout) as { argv: string[]; value: string; cwd: string };
}

it('sh reads every argument and variable of a role file as it was written', () => {
  const text = fc.oneof(
    fc.constantFrom(
      "'",
      "'; id; '",
      '$(id)',
      '`id`',
      '\\',
      '"',
      '\n',
      '# user: root',
      '',
      '~',
      '*',
      '店',
      '$HOME',
    ),
    fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .filter((value) => !value.includes('\0') && value.isWellFormed()),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 3 }), text, text, (command, value, extra) => {
      expect(start({ command, environment: { VALUE: value } }, extra)).toEqual({
        argv: [...command, extra],
        value,
        cwd: directory,
      });
    }),
    { numRuns: 25 },
  );
});

it('a role whose directory is gone does not start elsewhere', () => {
  expect(() => start({ workingDirectory: `${directory}/gone` })).toThrow(/gone/);
});
