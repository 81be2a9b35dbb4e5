import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../cli/main.ts';
import { digestOf } from '../../../oci/digest.ts';
import { createImage, type TestImage } from '../../helpers/image.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let folder: TempDirectory;
beforeAll(async () => {
  folder = await createTempDirectory('cli');
});
afterAll(() => folder.remove());

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** The program within this process, as somebody would run it at `cwd`. */
async function brickyard(
  server: TestServer,
  args: readonly string[],
  { input = '', cwd = folder.path }: { input?: string; cwd?: string } = {},
): Promise<Outcome> {
  const outcome: Outcome = { code: 0, stdout: '', stderr: '' };
  outcome.code = await run(args, {
    stdout(text) {
      outcome.stdout += text;
    },
    stderr(text) {
      outcome.stderr += text;
    },
    stdin: Readable.from([input]),
    cwd,
    env: {
      PATH: process.env['PATH'],
      HOME: folder.path,
      BRICKYARD_SERVER: server.url,
      BRICKYARD_CREDENTIALS: join(folder.path, 'credentials.json'),
    },
  });
  return outcome;
}

async function pushImage(url: string, repository: string, tags: readonly string[]): Promise<TestImage> {
  const image = await createImage([[]], { Env: ['A=1'], Cmd: ['web'] });
  for (const blob of [image.config, ...image.layers]) {
    const response = await fetch(`${url}/v2/${repository}/blobs/uploads/?digest=${digestOf(blob)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: blob,
    });
    expect(response.status).toBe(201);
  }
  for (const tag of tags) {
    const response = await fetch(`${url}/v2/${repository}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      body: image.manifest,
    });
    expect(response.status).toBe(201);
  }
  return image;
}

describe('commands against an open server', () => {
  let server: TestServer;
  let image: TestImage;
  beforeAll(async () => {
    server = await startServer();
    image = await pushImage(server.url, 'team/app', ['1.0', 'latest']);
  });
  afterAll(() => server.remove());

  it('lists repositories and tags, for people and as JSON', async () => {
    expect(await brickyard(server, ['images', 'ls'])).toEqual({ code: 0, stdout: 'team/app\n', stderr: '' });
    expect((await brickyard(server, ['images', 'tags', 'team/app'])).stdout).toBe('1.0\nlatest\n');
    expect(JSON.parse((await brickyard(server, ['images', 'ls', '--json'])).stdout)).toEqual([
      { repository: 'team/app' },
    ]);
    expect(
      JSON.parse((await brickyard(server, ['images', 'tags', 'team/app', '--json'])).stdout),
    ).toMatchObject([{ tag: '1.0' }, { tag: 'latest' }]);
  });

  it('shows what an image is made of', async () => {
    const { code, stdout } = await brickyard(server, ['images', 'inspect', 'team/app:1.0']);

    expect(code).toBe(0);
    expect(stdout).toContain(image.digest);
    expect(stdout).toContain('["A=1"]');
    const json = await brickyard(server, ['images', 'inspect', `team/app@${image.digest}`, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ digest: image.digest });
  });

  it.each([
    [['images', 'tags', 'team/none'], 'there is no such repository'],
    [['images', 'inspect', 'team/app:none'], 'there is no such image'],
    [['images', 'rm', 'team/app:none'], 'there is no such image'],
    [['images', 'ls', '--server', 'http://127.0.0.1:1'], 'cannot reach http://127.0.0.1:1'],
    [['builds', 'logs', '00000000-0000-0000-0000-000000000000'], 'there is no such build'],
    [['explain', '.'], 'there is no App.yaml'],
  ] as const)('%j fails with one line that says why', async (args, text) => {
    const { code, stdout, stderr } = await brickyard(server, args);

    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(text);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('deletes a tag, and what a digest names with all its tags', async () => {
    const other = await pushImage(server.url, 'team/gone', ['a', 'b', 'c']);

    expect((await brickyard(server, ['images', 'rm', 'team/gone:a'])).code).toBe(0);
    expect((await brickyard(server, ['images', 'tags', 'team/gone'])).stdout).toBe('b\nc\n');
    expect((await brickyard(server, ['images', 'rm', `team/gone@${other.digest}`])).code).toBe(0);
    expect((await brickyard(server, ['images', 'tags', 'team/gone'])).stdout).toBe('');
  });

  it('deletes a whole repository, when asked to in so many words', async () => {
    await pushImage(server.url, 'team/old', ['a', 'b']);

    expect(await brickyard(server, ['images', 'rm', 'team/old'])).toMatchObject({ code: 2 });
    expect(await brickyard(server, ['images', 'rm', 'team/old', '--yes'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'deleted team/old with 1 manifest\n',
    });
    expect((await brickyard(server, ['images', 'ls'])).stdout).not.toContain('team/old');
    expect((await brickyard(server, ['images', 'rm', 'team/old', '--yes'])).stderr).toContain(
      'no such repository',
    );
    const openapi = await (await fetch(`${server.url}/api/v1/openapi.json`)).json();
    expect(openapi).toMatchObject({ paths: { '/api/v1/repositories/{*}': { delete: {} } } });
  });

  it('builds a folder that is no git repository, and tells of builds that fail', async () => {
    const app = join(folder.path, 'shop');
    await mkdir(app);
    await writeFile(join(app, 'App.yaml'), 'base: jdk:17\nentrypoints: {web: {cmd: java -version}}\n');

    const built = await brickyard(server, ['build', '--repository', 'team/shop'], { cwd: app });

    expect(built.code).toBe(1);
    // A new server has no base images: the next step must be said where one stumbles.
    expect(built.stderr).toContain('there is no base image "jdk:17", nor any other on this server');
    expect(built.stderr).toContain('brickyard base build');
    const listed = await brickyard(server, ['builds', 'ls', '--json']);
    const [build] = JSON.parse(listed.stdout) as { id: string; state: string }[];
    expect(build).toMatchObject({ state: 'failed', repository: 'team/shop' });
    const table = await brickyard(server, ['builds', 'ls']);
    expect(table.stdout).toContain('(working tree)');
    expect((await brickyard(server, ['builds', 'logs', build?.id ?? ''])).code).toBe(0);
    expect((await brickyard(server, ['builds', 'logs', '-f', build?.id ?? ''])).code).toBe(1);
  });

  it('refuses two App.yaml files, as nobody could tell which counts', async () => {
    const app = join(folder.path, 'two');
    await mkdir(app);
    await writeFile(join(app, 'App.yaml'), 'base: base:12\nentrypoints: {web: {cmd: "true"}}\n');
    await writeFile(join(app, 'app.yml'), 'base: base:12\nentrypoints: {web: {cmd: "false"}}\n');

    const { code, stderr } = await brickyard(server, ['build', '--repository', 'team/two'], { cwd: app });

    expect(code).toBe(1);
    expect(stderr).toMatch(/App\.yaml.* E005 .*app\.yml/);
  });

  it('proposes an App.yaml whose base image is among those that ship', async () => {
    const app = join(folder.path, 'java');
    await mkdir(app);
    await writeFile(join(app, 'pom.xml'), '<project/>\n');

    const { code, stderr } = await brickyard(server, ['init'], { cwd: app });

    expect(code).toBe(0);
    expect(stderr).toContain('App.yaml; check it, then commit and push');
    expect(stderr).not.toContain('is not among the base images');
  });
});

describe('commands against a server with accounts', () => {
  it('asks to sign in, signs in, and does what the rules allow', async () => {
    const htpasswd = join(folder.path, 'users.htpasswd');
    const config = join(folder.path, 'server.yaml');
    await writeFile(
      config,
      `auth:\n  htpasswd: ${htpasswd}\n  rules:\n    - {repositories: "a/**", users: [alice], actions: [pull, push, build]}\n`,
    );
    const local = { url: 'http://127.0.0.1:1' } as TestServer;
    const added = await brickyard(local, ['user', 'add', 'alice', '--config', config, '--password-stdin'], {
      input: 'correct horse\n',
    });
    expect(added).toMatchObject({ code: 0, stdout: '' });
    expect((await brickyard(local, ['user', 'ls', '--config', config, '--json'])).stdout).toBe('["alice"]\n');
    const canI = (...args: string[]) => brickyard(local, ['can-i', ...args, '--config', config]);
    expect((await canI('push', 'a/x', '--as', 'alice')).code).toBe(0);
    expect((await canI('push', 'b/x', '--as', 'alice')).code).toBe(1);

    const server = await startServer({ args: ['--config', config] });
    try {
      const app = join(folder.path, 'java-app');
      await mkdir(app);
      await writeFile(join(app, 'App.yaml'), 'base: base:12\nentrypoints: {web: {cmd: "true"}}\n');
      const build = (repository: string) =>
        brickyard(server, ['build', '--repository', repository], { cwd: app });

      expect(await build('a/x')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('brickyard login'),
      });
      const login = (input: string) =>
        brickyard(server, ['login', '--user', 'alice', '--password-stdin'], { input });
      expect(await login('wrong\n')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('does not accept'),
      });
      expect((await login('correct horse\n')).code).toBe(0);

      expect((await build('a/x')).stderr).toContain('there is no base image');
      expect((await build('b/x')).stderr).toContain('alice may not push to b/x');
      expect((await brickyard(server, ['images', 'rm', 'a/x:1'])).stderr).toContain('you may not do this');
    } finally {
      await server.remove();
    }
  });
});
