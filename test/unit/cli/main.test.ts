import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../../../cli/main.ts';
import packageJson from '../../../package.json' with { type: 'json' };
import { createTempDirectory } from '../../helpers/temp.ts';

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

function brickyard(...args: string[]): Promise<Outcome> {
  return brickyardWith({}, ...args);
}

async function brickyardWith(env: Record<string, string>, ...args: string[]): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  const code = await run(args, {
    stdout(text) {
      stdout += text;
    },
    stderr(text) {
      stderr += text;
    },
    cwd: '/nonexistent',
    env,
  });
  return { code, stdout, stderr };
}

describe('brickyard', () => {
  it('prints its version', async () => {
    expect(await brickyard('--version')).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' });
  });

  it('prints help when asked, and it is no fault', async () => {
    const { code, stdout, stderr } = await brickyard('serve', '--help');

    expect(code).toBe(0);
    expect(stdout).toContain('Usage: brickyard serve');
    expect(stderr).toBe('');
  });

  it('prints help on stderr when no command is named', async () => {
    const { code, stdout, stderr } = await brickyard();

    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Usage: brickyard');
  });

  it.each([
    [['serv'], "unknown command 'serv'", 'Did you mean serve?'],
    [['images', 'lss'], "unknown command 'lss'", 'Did you mean ls?'],
    [['--bogus'], "unknown option '--bogus'", 'brickyard --help'],
    [['builds', 'logs'], "missing required argument 'id'", 'brickyard --help'],
    [['builds', 'logs', 'nope'], '"nope" is no build', 'builds ls'],
    [['builds', 'ls', '--limit', 'x'], '--limit x', 'no number'],
    [['builds', 'ls', '--limit', '0'], '--limit 0', 'no number'],
    [['serve', 'pool', 'registry'], 'a pool runs in a process of its own', 'beside the others'],
    [['serve', 'pool', '--config', 'x.yaml'], 'serve pool takes --pools and --pool', 'not --config'],
    [['serve', '--pool', 'x'], '--pools and --pool are for', 'serve pool'],
    [['serve', 'pool', '--pools', '/nonexistent'], 'cannot read /nonexistent', 'docs/pools.md'],
    [['serve', 'regstry'], 'there is no role "regstry"', 'registry, builder, worker'],
    [['images', 'tags', 'BAD NAME'], '"BAD NAME" is no repository name', 'team/app'],
    [['images', 'rm', 'team/app'], 'say --yes', 'team/app:TAG'],
    [['images', 'ls', '--server', 'nonsense://x'], 'is no server address', 'http://127.0.0.1:5000'],
    [['can-i', 'fly', 'x'], '"fly" is no action', 'pull, push, delete'],
    [['build', '/nonexistent'], 'is no folder', '/nonexistent'],
  ] as const)(
    '%j is wrong usage: exit code 2, on stderr, with what would be right',
    async (args, text, hint) => {
      const { code, stdout, stderr } = await brickyard(...args);

      expect(code).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toContain(text);
      expect(stderr).toContain(hint);
    },
  );

  it('lints the catalog that ships, and one that stands on it, as JSON for machines', async () => {
    const folder = await createTempDirectory('catalog');
    try {
      await mkdir(join(folder.path, 'ours'));
      await writeFile(
        join(folder.path, 'ours/base.yaml'),
        'name: ours\nversion: "1"\nchannels: ["1"]\nparent: bse:12\n',
      );

      expect((await brickyard('base', 'lint')).code).toBe(0);
      const { code, stdout, stderr } = await brickyard('base', 'lint', 'shipped', folder.path);
      const { files } = JSON.parse(
        (await brickyard('base', 'lint', '--json', 'shipped', folder.path)).stdout,
      ) as {
        files: readonly unknown[];
      };

      expect(code).toBe(1);
      expect(stdout).toContain('ours/base.yaml:4:9 error E304');
      expect(stdout).toContain('did you mean "base"?');
      expect(stderr).toContain('1 error');
      expect(files).toEqual([
        { file: join(folder.path, 'ours/base.yaml'), faults: [expect.objectContaining({ code: 'E304' })] },
      ]);
    } finally {
      await folder.remove();
    }
  });

  it('takes base images from --catalog, else from builder.catalog, else from those that ship', async () => {
    const configured = { BRICKYARD_BUILDER_CATALOG: '/none/a' };

    expect((await brickyard('base', 'tree')).stdout).toMatch(/^base:12 [^]*\n {2}nodejs:26 /);
    expect((await brickyardWith(configured, 'base', 'tree')).stderr).toContain('the catalog /none/a cannot');
    expect((await brickyardWith(configured, 'base', 'tree', '--catalog', '/none/b')).stderr).toContain(
      '/none/b',
    );
  });
});
