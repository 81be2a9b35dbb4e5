import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../../../helpers/process.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

const launcher = join(import.meta.dirname, '../../../../baseimages/base/static/usr/local/bin/launcher');

/** Runs the launcher as an unprivileged user over parts that lie in a folder of their own. */
async function launch(
  parts: Record<string, string>,
  args: readonly string[],
  options: { root?: boolean; env?: Record<string, string> } = {},
) {
  await using folder = await createTempDirectory('launcher');
  await chmod(folder.path, 0o755);
  for (const [path, text] of Object.entries(parts)) {
    const file = join(folder.path, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { mode: path.startsWith('bin/') ? 0o755 : 0o644 });
  }
  await mkdir(join(folder.path, 'out'));
  await chmod(join(folder.path, 'out'), 0o777);
  const isRoot = process.getuid?.() === 0;
  const drop =
    isRoot && options.root !== true ? ['setpriv', '--reuid=10001', '--regid=10001', '--clear-groups'] : [];
  // A copy, since the checkout may lie where other users cannot look.
  const copy = join(folder.path, 'launcher');
  await run('cp', [launcher, copy]);
  const [command = '', ...rest] = [...drop, '/bin/sh', copy, ...args];
  const program = options.root === true ? [copy, ...args] : undefined;
  const result = await run(program?.[0] ?? command, program?.slice(1) ?? rest, {
    env: { ...options.env, APPIMG_DIRECTORY: folder.path, PATH: `${folder.path}/bin:${process.env.PATH}` },
    cwd: '/',
  });
  return { ...result, folder: folder.path };
}

const role = (text: string, user = 'app') => `# user: ${user}\n${text}\n`;

/** For people who run the tests without root: programs that only pretend to be root and to give it up. */
const standIns = {
  'bin/id': '#!/bin/sh\necho "${PRETENDED_ID:-0}"\n',
  'bin/setpriv': '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nPRETENDED_ID=10001 exec "$@"\n',
};

describe('the launcher', () => {
  it('executes the role that the first argument names, with its variables and directory', async () => {
    const { stdout, code } = await launch(
      { 'roles/web': role(`export A='it'\\''s'\ncd '/usr' || exit 1\nexec 'sh' '-c' 'echo "$A" "$PWD" $$'`) },
      ['web'],
    );

    expect(code).toBe(0);
    expect(stdout).toMatch(/^it's \/usr \d+\n$/);
  });

  it('hands further arguments to a role that takes them', async () => {
    const { stdout } = await launch({ 'roles/web': role(`exec 'echo' "$@"`) }, ['web', 'a b', 'c']);

    expect(stdout).toBe('a b c\n');
  });

  it('runs the runtime scripts from root to leaf, then that of the app, then the role', async () => {
    const { stdout } = await launch(
      {
        'runtime.d/20-node.sh': 'echo node',
        'runtime.d/10-base.sh': 'echo base',
        'runtime.d/README': 'echo no',
        'runtime.sh': 'echo app',
        'roles/web': role(`exec 'echo' 'role'`),
      },
      ['web'],
    );

    expect(stdout).toBe('base\nnode\napp\nrole\n');
  });

  it('takes an argument that is no role as a command, with its exit code', async () => {
    const { stdout, code } = await launch({ 'runtime.sh': 'echo app' }, [
      'sh',
      '-c',
      'echo "$0 $1"; exit 7',
      'x y',
      'z',
    ]);

    expect(stdout).toBe('app\nx y z\n');
    expect(code).toBe(7);
  });

  it.each([['../secret'], ['roles/web'], ['.hidden'], ['']])(
    'does not look for %j among the roles',
    async (name) => {
      const { code } = await launch({ secret: role('echo leaked'), 'roles/.hidden': role('echo leaked') }, [
        name,
      ]);

      expect(code).not.toBe(0);
    },
  );

  it('stops with 96 when a runtime script fails, and says which and how', async () => {
    const { code, stdout, stderr } = await launch(
      { 'runtime.d/10-base.sh': 'exit 3', 'roles/web': role(`exec 'echo' 'role'`) },
      ['web'],
    );

    expect(code).toBe(96);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/10-base\.sh failed with exit code 3/);
  });

  it('stops with 97 when a runtime script hangs', async () => {
    const { code, stderr } = await launch({ 'runtime.sh': 'sleep 600' }, ['true'], {
      env: { APPIMG_RUNTIME_TIMEOUT: '0.2' },
    });

    expect(code).toBe(97);
    expect(stderr).toContain('took longer than 0.2 seconds');
  });

  it('stops with 64 when there is nothing to run', async () => {
    expect((await launch({}, [])).code).toBe(64);
    expect((await launch({ 'roles/web': role('') }, ['web'])).code).toBe(64);
  });

  it('stops with 98 when a role of root is started without root', async () => {
    const { code, stderr } = await launch({ 'roles/admin': role(`exec 'id' '-u'`, 'root') }, ['admin']);

    expect(code).toBe(98);
    expect(stderr).toContain("the role 'admin' runs as root");
  });

  it('started as root, keeps it only for roles that ask for it', async () => {
    const roles = {
      'roles/admin': role(`exec 'id' '-u'`, 'root'),
      'roles/web': role(`exec 'id' '-u'`),
      'roles/odd': `# user: root2\nexec 'id' '-u'\n`,
      'runtime.sh': 'id -u',
      ...(process.getuid?.() === 0 ? {} : standIns),
    };

    expect((await launch(roles, ['admin'], { root: true })).stdout).toBe('0\n0\n');
    expect((await launch(roles, ['web'], { root: true })).stdout).toBe('10001\n10001\n');
    expect((await launch(roles, ['odd'], { root: true })).stdout).toBe('10001\n10001\n');
    expect((await launch(roles, ['id', '-u'], { root: true })).stdout).toBe('10001\n10001\n');
  });
});
