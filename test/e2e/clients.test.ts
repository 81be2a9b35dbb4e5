import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientNames, type RegistryClient, sampleFiles, startClient } from '../helpers/clients.ts';
import { startServer, type TestServer } from '../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

let open: TestServer;
let locked: TestServer;
let directory: TempDirectory;

beforeAll(async () => {
  directory = await createTempDirectory('accounts');
  const htpasswd = join(directory.path, 'htpasswd');
  await writeFile(htpasswd, `alice:${await bcrypt.hash('correct horse', 5)}\n`, { mode: 0o600 });
  open = await startServer();
  locked = await startServer({ env: { BRICKYARD_AUTH_HTPASSWD: htpasswd } });
});

afterAll(async () => {
  await open?.remove();
  await locked?.remove();
  await directory?.remove();
});

describe.each(clientNames)('%s', (name) => {
  let client: RegistryClient;

  beforeAll(async () => {
    client = await startClient(name);
  });

  afterAll(async () => {
    await client?.stop();
  });

  it('pushes an image of several layers and pulls it back', async () => {
    const reference = `${open.host}/${name}/image:v1`;
    const config = await client.createImage('multi', sampleFiles());

    const pushed = await client.push('multi', reference);
    const pulled = await client.pull(reference);

    expect(outcome(pushed)).toBe('0');
    expect(outcome(pulled)).toBe('0');
    expect(await client.pulledConfig(reference)).toBe(config);
    expect(await manifestOf(open, `${name}/image`, 'v1')).toMatchObject({ config: { digest: config } });
  });

  it('pushes an index of two platforms and pulls the image of its own', async () => {
    const repository = `${open.host}/${name}/index`;
    const amd64 = await client.createImage('for-amd64', sampleFiles(), 'amd64');
    await client.push('for-amd64', `${repository}:amd64`);
    await client.createImage('for-arm64', sampleFiles(), 'arm64');
    await client.push('for-arm64', `${repository}:arm64`);

    const pushed = await client.pushIndex(`${repository}:all`, [
      { reference: `${repository}:amd64`, architecture: 'amd64' },
      { reference: `${repository}:arm64`, architecture: 'arm64' },
    ]);
    const pulled = await client.pull(`${repository}:all`);

    expect(outcome(pushed)).toBe('0');
    expect(outcome(pulled)).toBe('0');
    expect(await client.pulledConfig(`${repository}:all`)).toBe(amd64);
    const index = (await manifestOf(open, `${name}/index`, 'all')) as { manifests: unknown[] };
    expect(index.manifests).toMatchObject([
      { platform: { architecture: 'amd64' } },
      { platform: { architecture: 'arm64' } },
    ]);
  });

  it('is refused without an account, and pushes and pulls after it logged in', async () => {
    const reference = `${locked.host}/${name}/secret:v1`;
    const config = await client.createImage('secret', sampleFiles());

    const stranger = await client.push('secret', reference);
    const wrong = await client.login(locked.host, 'alice', 'wrong');
    const login = await client.login(locked.host, 'alice', 'correct horse');
    const pushed = await client.push('secret', reference);
    const pulled = await client.pull(reference);
    const pulledConfig = await client.pulledConfig(reference);
    await client.logout(locked.host);
    const afterwards = await client.pull(reference);

    expect(stranger.code).not.toBe(0);
    expect(`${stranger.stdout}${stranger.stderr}`).toMatch(/auth|denied|unauthorized|credentials/i);
    expect(wrong.code).not.toBe(0);
    expect(outcome(login)).toBe('0');
    expect(outcome(pushed)).toBe('0');
    expect(outcome(pulled)).toBe('0');
    expect(pulledConfig).toBe(config);
    expect(afterwards.code).not.toBe(0);
  });
});

/** `0`, or all that was said: a failing test should show why. */
function outcome(result: { code: number; stdout: string; stderr: string }): string {
  return result.code === 0 ? '0' : `${result.code}\n${result.stdout}${result.stderr}`;
}

async function manifestOf(server: TestServer, repository: string, tag: string): Promise<unknown> {
  const answer = await fetch(`${server.url}/v2/${repository}/manifests/${tag}`, {
    headers: {
      accept: [
        'application/vnd.oci.image.index.v1+json',
        'application/vnd.oci.image.manifest.v1+json',
        'application/vnd.docker.distribution.manifest.list.v2+json',
        'application/vnd.docker.distribution.manifest.v2+json',
      ].join(', '),
    },
  });
  return answer.json();
}
