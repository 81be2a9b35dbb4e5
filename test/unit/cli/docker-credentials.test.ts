import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findDockerCredential } from '../../../cli/docker-credentials.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

let home: TempDirectory;
beforeEach(async () => {
  home = await createTempDirectory('auth');
});
afterEach(() => home.remove());

const auth = (text: string): string => Buffer.from(text).toString('base64');

async function find(host: string, files: Record<string, unknown>, env: Record<string, string> = {}) {
  for (const [name, content] of Object.entries(files)) {
    const file = join(home.path, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
  let warning = '';
  const context = {
    env: { HOME: home.path, PATH: '/nonexistent', ...env },
    stderr(text: string) {
      warning += text;
    },
  };
  const credential = await findDockerCredential(context, host);
  return { credential, warning };
}

describe("what docker's login left", () => {
  it.each([
    [{ 'r.example': { auth: auth('alice:a:b') } }, { user: 'alice', password: 'a:b' }],
    [{ 'https://r.example': { auth: auth('alice:secret\0\0') } }, { user: 'alice', password: 'secret' }],
    [
      { 'https://r.example/v2/': { username: 'bob', password: 'secret' } },
      { user: 'bob', password: 'secret' },
    ],
    [{ 'other.example': { auth: auth('alice:secret') } }, undefined],
    [{ 'r.example': {} }, undefined],
    [{ 'r.example': { auth: 5 } }, undefined],
  ])('%j', async (auths, credential) => {
    expect((await find('r.example', { '.docker/config.json': { auths } })).credential).toEqual(credential);
  });

  it("looks into docker's folder, then into Podman's, and only into REGISTRY_AUTH_FILE where that is set", async () => {
    const podman = { auths: { 'r.example': { auth: auth('podman:x') } } };
    const files = { '.config/containers/auth.json': podman };
    expect((await find('r.example', files)).credential?.user).toBe('podman');

    const named = { 'named.json': { auths: {} } };
    const env = { REGISTRY_AUTH_FILE: join(home.path, 'named.json') };
    expect((await find('r.example', named, env)).credential).toBeUndefined();
  });

  it('says which credential helper is missing, and goes on without it', async () => {
    const { credential, warning } = await find('r.example', {
      '.docker/config.json': { credsStore: 'desktop' },
    });

    expect(credential).toBeUndefined();
    expect(warning).toContain('docker-credential-desktop is not installed');
  });

  it('runs nothing whose name is no name', async () => {
    const credHelpers = { 'r.example': '../../bin/sh' };
    const { credential, warning } = await find('r.example', { '.docker/config.json': { credHelpers } });

    expect([credential, warning]).toEqual([undefined, '']);
  });

  it('says which file is damaged', async () => {
    await expect(find('r.example', { '.docker/config.json': '{' })).rejects.toThrow(
      /config\.json is no JSON/,
    );
  });
});
