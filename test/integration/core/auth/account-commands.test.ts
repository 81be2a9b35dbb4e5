import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fastify } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../../../../cli/main.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

let folder: TempDirectory;
beforeEach(async () => {
  folder = await createTempDirectory('accounts');
});
afterEach(() => folder.remove());

async function brickyard(args: string[], input = '') {
  const output = { stdout: '', stderr: '' };
  const code = await run(args, {
    stdout: (text) => {
      output.stdout += text;
    },
    stderr: (text) => {
      output.stderr += text;
    },
    stdin: Readable.from([input]),
    cwd: folder.path,
    env: { HOME: folder.path },
  });
  return { code, ...output };
}

describe('brickyard user', () => {
  it('adds, lists and removes accounts in a file of mode 0600', async () => {
    const added = await brickyard(['user', 'add', 'alice', '--password-stdin'], 'secret\n');
    await brickyard(['user', 'add', 'bob', '--password-stdin'], 'secret\n');
    const listed = await brickyard(['user', 'ls', '--json']);
    const removed = await brickyard(['user', 'rm', 'alice']);

    expect(added).toMatchObject({ code: 0, stdout: '' });
    expect(added.stderr).toContain('BRICKYARD_AUTH_HTPASSWD=users.htpasswd');
    expect(JSON.parse(listed.stdout)).toEqual(['alice', 'bob']);
    expect(removed.code).toBe(0);
    const file = join(folder.path, 'users.htpasswd');
    expect(await readFile(file, 'utf8')).toMatch(/^bob:\$2b\$10\$.{53}\n$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await brickyard(['user', 'rm', 'alice'])).toMatchObject({ code: 1 });
  });

  it.each([
    [['add', 'anonymous', '--password-stdin'], 'secret'],
    [['add', 'a:b', '--password-stdin'], 'secret'],
    [['add', 'alice', '--password-stdin'], ''],
    [['add', 'alice', '--password-stdin'], 'x'.repeat(73)],
    [['add', 'alice'], 'secret'],
  ])('user %j is wrong usage', async (args, input) => {
    expect(await brickyard(['user', ...args], input)).toMatchObject({ code: 2 });
  });
});

describe('brickyard can-i', () => {
  it('says which rule decided, by exit code too', async () => {
    await brickyard(['user', 'add', 'alice', '--password-stdin', '--file', 'users'], 'secret');
    const rule = '{repositories: "team/**", users: [alice], actions: [push]}';
    await writeFile(join(folder.path, 'brickyard.yaml'), `auth: {htpasswd: users, rules: [${rule}]}\n`);

    expect(await brickyard(['can-i', 'push', 'team/app', '--as', 'alice'])).toMatchObject({
      code: 0,
      stdout: 'yes: auth.rules[0]: alice may push in team/**\n',
    });
    expect((await brickyard(['can-i', 'pull', 'team/app'])).code).toBe(1);
    expect((await brickyard(['can-i', 'push', 'team/app', '--as', 'carol'])).stderr).toContain('no account');
    expect((await brickyard(['can-i', 'fly', 'team/app'])).code).toBe(2);
  });
});

describe('brickyard login', () => {
  it('keeps a credential only when the server accepts it', async () => {
    const app = fastify();
    const right = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
    app.get('/v2/', (request, reply) =>
      reply.code(request.headers.authorization === right ? 200 : 401).send({}),
    );
    const server = await app.listen({ host: '127.0.0.1', port: 0 });
    const file = join(folder.path, '.config/brickyard/credentials.json');
    try {
      const wrong = await brickyard(['login', server, '-u', 'alice', '--password-stdin'], 'wrong');
      await expect(stat(file)).rejects.toThrow();
      const accepted = await brickyard(['login', server, '-u', 'alice', '--password-stdin'], 'secret');

      expect(wrong.code).toBe(1);
      expect(accepted.code).toBe(0);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
        servers: { [server]: { user: 'alice', password: 'secret' } },
      });
    } finally {
      await app.close();
    }
  });
});
