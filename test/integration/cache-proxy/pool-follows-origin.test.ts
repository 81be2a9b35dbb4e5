import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readAgentKey } from '../../../cache-proxy/agent/agent-key.ts';
import type { PoolStatus } from '../../../cache-proxy/agent/agent-server.ts';
import { startPool } from '../../../cache-proxy/agent/start-pool.ts';
import { createBcrypt } from '../../../core/auth/bcrypt.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMetrics } from '../../../core/metrics.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { freePort } from '../../helpers/free-port.ts';
import { makePool } from '../../helpers/pool.ts';
import { waitFor } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import { startServer } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { pushImage } from '../../suites/pool-engine/fixture.ts';

const basic = (user: string): string => `Basic ${Buffer.from(`${user}:${user}`).toString('base64')}`;

it('what is deleted at a Brickyard is gone from a pool that drops it, as it happens', async () => {
  await using folder = await createTempDirectory('follows');
  const bcrypt = createBcrypt();
  const lines = await Promise.all(
    ['alice', 'pool'].map(async (user) => `${user}:${await bcrypt.hash(user, 4)}\n`),
  );
  await bcrypt.close();
  await writeFile(join(folder.path, 'users'), lines.join(''));
  const rules = [
    { repositories: '**', users: ['alice'], actions: ['admin'] },
    { repositories: '**', users: ['pool'], actions: ['pull'] },
  ];
  const server = await startServer({
    args: ['registry'],
    env: {
      BRICKYARD_PROCESSES: '1',
      BRICKYARD_AUTH_HTPASSWD: join(folder.path, 'users'),
      BRICKYARD_AUTH_RULES: JSON.stringify(rules),
      BRICKYARD_REGISTRY_POOLS_ACCOUNTS: 'pool',
    },
  });
  const client = createRegistryClient({
    url: server.url,
    credentials: { username: 'alice', password: 'alice' },
  });
  const made = makePool({
    folder: folder.path,
    listen: `127.0.0.1:${await freePort()}`,
    origin: [server.url],
    onOriginMissing: 'drop',
  });
  const pool = await startPool(
    { ...made, origin: { ...made.origin, credential: { username: 'pool', password: 'pool' } } },
    { log: createSilentLogger(), metrics: createMetrics() },
  );
  // A token says what its owner may: nothing about the image itself is asked again for it.
  const get = async (path: string) => {
    const scope = `repository:${path.split('/').slice(2, 4).join('/')}:pull`;
    const query = new URLSearchParams({ service: 'brickyard', scope }).toString();
    const answer = await send(server.url, 'GET', `/token?${query}`, {
      headers: { authorization: basic('alice') },
    });
    const { token } = JSON.parse(answer.body.toString()) as { token: string };
    return send(pool.url, 'GET', path, { headers: { authorization: `Bearer ${token}` } });
  };
  const status = async (): Promise<PoolStatus> => {
    const headers = { authorization: `Bearer ${await readAgentKey(folder.path)}` };
    return JSON.parse(
      (await send(`http://${pool.agent}`, 'GET', '/_pool/status', { headers })).body.toString(),
    );
  };
  try {
    const gone = await pushImage(client, 1024);
    const stays = await pushImage(client, 1024);
    for (const path of [gone.byTag, gone.byDigest, gone.blob, stays.byDigest]) {
      expect((await get(path)).status).toBe(200);
    }
    await waitFor(async () => (await status()).events, { what: 'events of the origin' });

    await client.deleteManifest(gone.repository, gone.manifestDigest);

    await waitFor(async () => (await get(gone.byDigest)).status === 404, { what: 'the manifest to go' });
    await waitFor(async () => (await get(gone.byTag)).status === 404, { what: 'its tag to go' });
    expect((await get(stays.byDigest)).status).toBe(200);
  } finally {
    await pool.close();
    client.close();
    await server.remove();
  }
});
