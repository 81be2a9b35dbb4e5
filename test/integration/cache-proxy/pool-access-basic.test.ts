import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AccessRequest, Verdict } from '../../../cache-proxy/agent/gate.ts';
import { createPoolAccess, type PoolAccess } from '../../../cache-proxy/agent/pool-access.ts';
import { createBcrypt } from '../../../core/auth/bcrypt.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { startDockerRegistry, type TestDockerRegistry } from '../../helpers/docker-registry.ts';
import { makePool } from '../../helpers/pool.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const alice = { username: 'alice', password: 'wonderland' };
const basic = ({ username, password }: typeof alice): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
const layer = Buffer.from('a layer');
const digest = digestOf(layer);

/** docker-registry publishes no keys, issues no tokens and knows nothing of pools. */
describe('a pool before another registry that takes passwords', () => {
  let folder: TempDirectory;
  let registry: TestDockerRegistry;
  let access: PoolAccess;
  beforeAll(async () => {
    folder = await createTempDirectory('pool-basic');
    const bcrypt = createBcrypt();
    const htpasswd = `alice:${await bcrypt.hash(alice.password, 4)}\n`;
    await bcrypt.close();
    registry = await startDockerRegistry({ htpasswd });
    const client = createRegistryClient({ url: registry.url, credentials: alice });
    await client.putBlob('team/app', digest, layer);
    client.close();
    const pool = makePool({ folder: folder.path, listen: '127.0.0.1:1', origin: [registry.url] });
    access = createPoolAccess({
      pool: { ...pool, origin: { ...pool.origin, credential: alice } },
      log: createSilentLogger(),
    });
  });
  afterAll(async () => {
    access.close();
    await registry.remove();
    await folder.remove();
  });
  const decide = (change: Partial<AccessRequest>): Promise<Verdict> =>
    access.gate.decide({ repository: 'team/app', reference: { digest }, kind: 'blob', ...change });

  it('asks there for every password, passes its challenge on, and knows what is where', async () => {
    expect(await decide({ authorization: basic(alice) })).toEqual({ outcome: 'allowed', prewarm: false });
    expect(await decide({ authorization: basic(alice), repository: 'team/other' })).toEqual({
      outcome: 'unknown',
    });
    const refused = { outcome: 'unauthenticated', challenge: 'Basic realm="test"' };
    expect(await decide({})).toEqual(refused);
    expect(await decide({ authorization: basic({ ...alice, password: 'guess' }) })).toEqual(refused);
    expect(await decide({ authorization: 'Bearer abc' })).toEqual(refused);
    expect(await access.gate.greet(undefined)).toEqual(refused);
    expect(await access.gate.greet(basic(alice))).toMatchObject({ outcome: 'allowed' });
  });

  it('goes on for those it has seen when that is gone', async () => {
    await decide({ authorization: basic(alice) });
    await registry.stop();

    expect(await decide({ authorization: basic(alice) })).toMatchObject({ outcome: 'allowed' });
    expect(await access.gate.greet(basic(alice))).toMatchObject({ outcome: 'allowed' });
    await expect
      .poll(() => decide({ authorization: basic({ ...alice, password: 'another' }) }))
      .toMatchObject({ outcome: 'unavailable' });
  });
});
