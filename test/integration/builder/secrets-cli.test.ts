import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { run } from '../../../cli/main.ts';
import type { Authenticator } from '../../../core/auth/authenticator.ts';
import type { Action } from '../../../core/auth/authorizer.ts';
import { startFarm } from './farm-fixture.ts';
import { createWorkshop } from './git-fixture.ts';

const secretsKey = Buffer.alloc(32, 7).toString('base64');

async function brickyard(
  server: string,
  args: readonly string[],
  stdin = '',
): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const code = await run(args, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stdin: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]),
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', BRICKYARD_SERVER: server },
  });
  return { code, stdout, stderr };
}

/** Everybody is `carol`, who may do this alone. */
function onlyMay(allowed: Action | undefined): Authenticator {
  const anonymous = allowed === undefined;
  return {
    required: true,
    identify: async () => ({
      principal: { name: anonymous ? 'anonymous' : 'carol', anonymous },
      authorizer: { may: (_, action) => action === allowed },
    }),
  };
}

describe('brickyard secret', () => {
  it('sets a value from standard input, lists names and removes', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, secretsKey, work: false });
    const { secrets } = farm.builder;

    const set = await brickyard(farm.url, ['secret', 'set', 'team/app', 'npm'], 'npm_0123456789\n');
    await brickyard(farm.url, ['secret', 'set', 'team/app', 'pem'], '--- first\n--- second\n');
    const listed = await brickyard(farm.url, ['secret', 'ls', 'team/app', '--json']);
    const table = await brickyard(farm.url, ['secret', 'ls', 'team/app']);

    expect(set).toMatchObject({ code: 0, stdout: '' });
    expect(JSON.parse(listed.stdout)).toMatchObject([
      { name: 'npm', setBy: 'anonymous', key: 'current' },
      { name: 'pem' },
    ]);
    expect(table.stdout).toMatch(/^npm +\d{4}-.* anonymous\npem /);
    // The line end is that of `echo`; the last line of a key has its own.
    const values = await secrets.open('team/app', ['npm', 'pem']);
    expect([...values.values()].map(String)).toEqual(['npm_0123456789', '--- first\n--- second\n']);

    expect((await brickyard(farm.url, ['secret', 'rm', 'team/app', 'npm'])).code).toBe(0);
    expect(await brickyard(farm.url, ['secret', 'rm', 'team/app', 'npm'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('team/app has no secret "npm"') as string,
    });
  });

  it.each([
    [['secret', 'set', 'team', 'npm'], 'x', 'expected TEAM/APP', 2],
    [['secret', 'set', 'team/app/x', 'npm'], 'x', 'expected TEAM/APP', 2],
    [['secret', 'set', 'baseimages/x', 'npm'], 'x', 'is reserved', 2],
    [['secret', 'set', 'team/app', '../x'], 'x', 'is no name of a secret', 2],
    [['secret', 'set', 'team/app', 'npm', 'value'], '', 'too many arguments', 2],
    [['secret', 'set', 'team/app', 'npm'], '', 'standard input holds no value', 2],
    [['secret', 'set', 'team/app', 'npm'], 'short', 'at least 8 bytes', 1],
    [['secret', 'set', 'team/app', 'npm'], 'x'.repeat(70_000), 'more than the 65536 bytes', 2],
  ])('%j is refused', async (args, stdin, message, code) => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, secretsKey, work: false });

    const refused = await brickyard(farm.url, args, stdin);

    expect(refused.stderr).toContain(message);
    expect(refused.code).toBe(code);
    expect(await farm.builder.secrets.list('team/app')).toEqual([]);
  });

  it('says what a server without a key needs', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, work: false });

    const refused = await brickyard(farm.url, ['secret', 'set', 'team/app', 'npm'], 'npm_0123456789');

    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('BRICKYARD_BUILDER_SECRETS_KEY_FILE');
  });
});

describe('/api/v1/secrets', () => {
  const body = (value: string): RequestInit => ({
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ value }),
  });
  const value = Buffer.from('npm_0123456789').toString('base64');

  it.each<[Action | undefined, number]>([
    ['build', 200],
    ['push', 403],
    ['pull', 403],
    [undefined, 401],
  ])('who may %s there is answered %d', async (action, status) => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, secretsKey, work: false, authenticator: onlyMay(action) });
    const address = `${farm.url}/api/v1/secrets/team/app`;

    const answers = [
      await fetch(`${address}/npm`, body(value)),
      await fetch(address),
      await fetch(`${address}/npm`, { method: 'DELETE' }),
    ];

    expect(answers.map((answer) => answer.status)).toEqual([status, status, status]);
    for (const answer of answers) {
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(await answer.text()).not.toContain('npm_0123456789');
    }
  });

  it('refuses what is no secret, without repeating it', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, secretsKey, work: false });
    const send = async (path: string, sent: RequestInit): Promise<[number, string]> => {
      const answer = await fetch(`${farm.url}/api/v1/secrets/${path}`, sent);
      return [answer.status, await answer.text()];
    };

    for (const [path, sent, status] of [
      ['team/app/npm', body('not base64!'), 400],
      ['team/app/npm', { ...body(value), body: `{"value":1,"other":"${value}"}` }, 422],
      ['team/app/a%2Fb', body(value), 400],
      ['team/app/..%2Fx', body(value), 400],
      ['te%2Fam/app/npm', body(value), 400],
      ['Team/app/npm', body(value), 400],
    ] as const) {
      const [code, text] = await send(path, sent);
      expect([path, code]).toEqual([path, status]);
      expect(text).not.toContain(value);
    }
    const { objects } = await shop.store.list({ prefix: 'secrets/' });
    expect(objects).toEqual([]);
  });
});
