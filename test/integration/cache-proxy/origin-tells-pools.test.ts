import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBcrypt } from '../../../core/auth/bcrypt.ts';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { pushContent } from '../../helpers/content.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const layer = Buffer.from('layer');
const basic = (user: string): string => `Basic ${Buffer.from(`${user}:${user}`).toString('base64')}`;

/** The registry as operators start it, with more than one process. */
describe('what a registry tells the accounts of pools', () => {
  let folder: TempDirectory;
  let server: TestServer;
  let client: RegistryClient;
  beforeAll(async () => {
    folder = await createTempDirectory('origin-tells');
    const bcrypt = createBcrypt();
    const users = ['alice', 'pool'];
    const lines = await Promise.all(users.map(async (user) => `${user}:${await bcrypt.hash(user, 4)}\n`));
    await bcrypt.close();
    const htpasswd = join(folder.path, 'users');
    await writeFile(htpasswd, lines.join(''));
    const rules = [
      { repositories: '**', users: ['alice'], actions: ['admin'] },
      { repositories: 'team/**', users: ['pool'], actions: ['pull'] },
    ];
    server = await startServer({
      args: ['registry'],
      env: {
        BRICKYARD_PROCESSES: '2',
        BRICKYARD_AUTH_HTPASSWD: htpasswd,
        BRICKYARD_AUTH_RULES: JSON.stringify(rules),
        BRICKYARD_REGISTRY_POOLS_ACCOUNTS: 'pool',
      },
    });
    client = createRegistryClient({
      url: server.url,
      credentials: { username: 'alice', password: 'alice' },
    });
  });
  afterAll(async () => {
    client.close();
    await server.remove();
    await folder.remove();
  });
  const ask = (user: string, method: string, path: string, body?: object): Promise<HttpAnswer> =>
    send(server.url, method, path, {
      headers: {
        authorization: basic(user),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  it('every change in repositories that the pool may pull, whichever process made it', async () => {
    const end = new AbortController();
    const { body } = await fetch(`${server.url}/api/v1/pools/events`, {
      headers: { authorization: basic('pool') },
      signal: end.signal,
    });
    let heard = '';
    const events = (): string[] =>
      [...heard.matchAll(/^event: (.+)\ndata: .+$/gm)].map(([, name = '']) => name);
    const until = async (count: number): Promise<void> => {
      const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
      while (events().length < count) {
        const part = await reader?.read();
        if (part?.value === undefined) throw new Error(`the stream ended after: ${heard}`);
        heard += part.value;
      }
    };
    const expected = ['hello', 'push', 'push', 'untag', 'delete', 'unlink', 'push', 'push', 'remove'];
    const told = until(expected.length);
    const content = { blobs: { layer }, manifests: { image: {} }, tags: { v1: 'image' } };
    const pushed = await pushContent(client, { 'secret/app': content, 'team/app': content });
    const image = pushed['team/app'].manifests.image.digest;

    await client.deleteTag('team/app', 'v1');
    await client.deleteManifest('team/app', image);
    await client.deleteBlob('team/app', digestOf(layer));
    await pushContent(client, { 'team/app': content });
    expect((await ask('alice', 'DELETE', '/api/v1/repositories/team/app')).status).toBe(200);
    await told;
    end.abort();

    // Two processes carry them, so that neighbours may change places.
    expect(events().sort()).toEqual([...expected].sort());
    expect(heard).toContain(`"action":"untag","repository":"team/app","tag":"v1"`);
    expect(heard).toContain(`"action":"delete","repository":"team/app","digest":"${image}"`);
    expect(heard).not.toContain('secret');
  });

  it('which tokens are void, and other accounts nothing', async () => {
    const scope = 'service=brickyard&scope=repository:team/app:pull';
    const { token } = JSON.parse((await ask('alice', 'GET', `/token?${scope}`)).body.toString()) as {
      token: string;
    };

    const answer = await ask('pool', 'POST', '/api/v1/pools/void-tokens', { tokens: [token, `${token}x`] });

    expect([answer.status, answer.body.toString()]).toEqual([200, '{"void":[1]}']);
    expect((await ask('alice', 'POST', '/api/v1/pools/void-tokens', { tokens: [] })).status).toBe(403);
    expect((await ask('alice', 'GET', '/api/v1/pools/events')).status).toBe(403);
    expect((await send(server.url, 'GET', '/api/v1/pools/events')).status).toBe(401);
  });
});
