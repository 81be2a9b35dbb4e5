import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { registerExplain } from '../../../cli/commands/explain.ts';
import { registerInit } from '../../../cli/commands/init.ts';
import { registerLint } from '../../../cli/commands/lint.ts';
import { registerMigrate } from '../../../cli/commands/migrate.ts';
import { UserError } from '../../../core/user-error.ts';
import { base } from '../builder/plan/plan-fixture.ts';

let top: string;
let cwd: string;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'brickyard-cli-'));
  cwd = join(top, 'shop');
  mkdirSync(cwd);
});

afterEach(() => {
  rmSync(top, { recursive: true });
});

async function run(...args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  let stdout = '';
  let stderr = '';
  const context = {
    stdout: (text: string) => {
      stdout += text;
    },
    stderr: (text: string) => {
      stderr += text;
    },
    cwd,
    env: {},
  };
  const program = new Command().exitOverride();
  registerLint(program, context);
  registerInit(program, context);
  registerMigrate(program, context);
  registerExplain(program, context, {
    openBases: () =>
      Promise.resolve({
        resolveBase: (name) => Promise.resolve(base(name)),
        pullAddress: (planned) => `127.0.0.1:5000/${planned.repository}`,
        close: () => Promise.resolve(),
      }),
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return { stdout, stderr, exitCode: 0 };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { stdout, stderr: `${stderr}${error.message}\n`, exitCode: error.exitCode };
  }
}

const good = 'base: nodejs:26\nentrypoints: {web: {cmd: node server.js}}\n';

describe('migrate', () => {
  const eru = '# the shop\nbase: nodejs:26\nmeta: {a: b} # tiers\nentrypoints: {web: {cmd: node x}}\n';
  const migrated =
    'apiVersion: v1\n# the shop\nbase: nodejs:26\nlabels: {a: b} # tiers\nentrypoints: {web: {cmd: node x}}\n';

  it('prints a file of Eru as v1 with its comments, and leaves it as it is', async () => {
    writeFileSync(join(cwd, 'app.yaml'), eru);
    const { stdout, stderr, exitCode } = await run('migrate');

    expect([stdout, exitCode]).toEqual([migrated, 0]);
    expect(stderr).toMatch(/^app\.yaml:2:1 info W002 a file of Eru \(E2\), read as v1/);
    expect(readFileSync(join(cwd, 'app.yaml'), 'utf8')).toBe(eru);
  });

  it('--write puts it in the place of the file, once', async () => {
    writeFileSync(join(cwd, 'app.yaml'), eru);
    const first = await run('migrate', '--write', '.');
    const second = await run('migrate', '--write', '.');

    expect(first.stderr).toMatch(/app\.yaml: E2 → v1\n$/);
    expect(second.stderr).toBe('app.yaml is v1 already\n');
    expect(readFileSync(join(cwd, 'app.yaml'), 'utf8')).toBe(migrated);
    expect(readdirSync(cwd)).toEqual(['app.yaml']);
  });

  it('changes nothing when the file has an error', async () => {
    writeFileSync(join(cwd, 'app.yaml'), `${eru}port: 80\n`);
    const { stdout, stderr, exitCode } = await run('migrate', '--write');

    expect([stdout, exitCode]).toEqual(['', 1]);
    expect(stderr).toMatch(/app\.yaml:5:1 error E020 port: /);
    expect(readFileSync(join(cwd, 'app.yaml'), 'utf8')).toBe(`${eru}port: 80\n`);
  });
});

describe('lint', () => {
  it('is silent on stdout about a good file', async () => {
    writeFileSync(join(cwd, 'app.yml'), good);

    expect(await run('lint')).toEqual({ stdout: '', stderr: 'app.yml: no errors\n', exitCode: 0 });
  });

  it('prints faults on stdout and ends with 1', async () => {
    writeFileSync(join(cwd, 'App.yaml'), `bse: x\n${good}`);
    const { stdout, stderr, exitCode } = await run('lint', '.');

    expect(stdout).toMatch(/^App.yaml:1:1 error E010 bse: unknown key "bse" \(did you mean "base"\?\)\n/);
    expect([stderr, exitCode]).toEqual(['App.yaml: 1 error\n', 1]);
  });

  it('proposes a base where none is named, unless the server has one for such files', async () => {
    writeFileSync(join(cwd, 'App.yaml'), 'entrypoints: {web: {cmd: node server.js}}\n');
    writeFileSync(join(cwd, 'package.json'), '{}');
    const { stdout, exitCode } = await run('lint');

    expect(stdout).toMatch(/^App.yaml:1:1 error E022 no base image is named \(write base: nodejs:26\)\n/);
    expect(exitCode).toBe(1);
    expect((await run('lint', '--default-base', 'base:12')).exitCode).toBe(0);
    expect((await run('explain')).stderr).toContain('no base image is named');
    expect((await run('explain', '--default-base', 'base:12')).stdout).toMatch(/^base +base:12 /m);
  });

  it('looks into the runtime script too (builder.md 6, row 37)', async () => {
    writeFileSync(join(cwd, 'App.yaml'), `${good}runtime: runtime.sh\n`);
    const missing = await run('lint');
    writeFileSync(join(cwd, 'runtime.sh'), '#!/bin/sh\r\nset -e\r\n');
    const windows = await run('lint');
    const json = JSON.parse((await run('lint', '--json')).stdout) as unknown;

    expect(missing.stdout).toMatch(/^App.yaml:3:10 error E023 runtime: there is no file runtime.sh\n/);
    expect(windows.stdout).toMatch(/^runtime.sh:1:10 error E023 the lines end in CR LF/);
    expect([windows.stderr, windows.exitCode]).toEqual(['App.yaml: 1 error\n', 1]);
    expect(json).toMatchObject({
      file: 'App.yaml',
      faults: [],
      others: [{ file: 'runtime.sh', faults: [{ line: 1 }] }],
    });
  });

  it('prints JSON and GitHub annotations when asked', async () => {
    writeFileSync(join(cwd, 'App.yaml'), `bse: x\n${good}`);

    expect(JSON.parse((await run('lint', '--json')).stdout)).toMatchObject({
      file: 'App.yaml',
      faults: [{ code: 'E010' }],
    });
    expect((await run('lint', '--format', 'github')).stdout).toMatch(
      /^::error file=App.yaml,line=1,col=1,title=E010::/,
    );
  });

  it('refuses two App.yaml, says where there is none, and ends with 2 where there is nothing', async () => {
    expect(await run('lint')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('brickyard init'),
    });
    writeFileSync(join(cwd, 'App.yaml'), good);
    writeFileSync(join(cwd, 'app.yaml'), good);
    expect(await run('lint')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('remove one') });
    expect(await run('lint', 'nowhere')).toMatchObject({ exitCode: 2 });
  });

  it('does not read a file that is too large', async () => {
    writeFileSync(join(cwd, 'App.yaml'), '#'.repeat(300_000));

    expect((await run('lint')).stdout).toMatch(/E001 the file has 262145 bytes/);
  });
});

describe('init', () => {
  it('writes a file that lints clean, and never over another', async () => {
    writeFileSync(join(cwd, 'server.js'), '');
    const first = await run('init');
    const again = await run('init');

    expect(readFileSync(join(cwd, 'App.yaml'), 'utf8')).toBe(first.stdout);
    expect(await run('lint')).toMatchObject({ stdout: '', exitCode: 0 });
    expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('already') });
    expect((await run('init', '--print')).stdout).toBe(first.stdout);
  });

  it('proposes as JSON without writing', async () => {
    expect(JSON.parse((await run('init', '--json')).stdout)).toMatchObject({ project: { kind: 'unknown' } });
    expect(await run('lint')).toMatchObject({ exitCode: 1 });
  });
});

describe('explain', () => {
  it('shows the plan and the Dockerfile', async () => {
    writeFileSync(join(cwd, 'App.yaml'), good);
    const { stdout, exitCode } = await run('explain', '--team', 'blue');

    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^image +blue\/shop\n/);
    expect(stdout).toContain(`\nFROM 127.0.0.1:5000/baseimages/nodejs@${base('nodejs:26').digest}\n`);
  });

  it('prints the Dockerfile alone, or everything as JSON', async () => {
    writeFileSync(join(cwd, 'App.yaml'), good);

    expect((await run('explain', '--format', 'dockerfile')).stdout).toMatch(/^# Made by brickyard/);
    expect(JSON.parse((await run('explain', '--json')).stdout)).toMatchObject({ plan: { appname: 'shop' } });
  });

  it('tells the faults on stderr and ends with 1 when there is no plan', async () => {
    writeFileSync(join(cwd, 'App.yaml'), 'entrypoints: {web: {cmd: x}}\n');

    expect(await run('explain')).toMatchObject({
      stdout: '',
      exitCode: 1,
      stderr: expect.stringMatching(/E022 no base image is named/),
    });
  });
});
