import { describe, expect, it } from 'vitest';
import { createRegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { startCeph } from '../../helpers/ceph.ts';
import { send } from '../../helpers/raw-http.ts';
import { startReplicas } from '../../helpers/replicas.ts';
import { large } from '../../suites/registry/fixtures.ts';
import { replicasSuite } from './replicas-suite.ts';

const env = { BRICKYARD_REGISTRY_REDIRECT_MODE: 'on' };

replicasSuite('redirects to the store and accounts', {
  env,
  credentials: { username: 'replica', password: 'three at random' },
});

describe('a redirect to the store', () => {
  it('gives the whole blob, any range of it, and its size, to whoever has the address', async () => {
    const ceph = await startCeph();
    const bucket = await ceph.createBucket();
    await using replicas = await startReplicas({ store: { ...ceph, bucket }, env, count: 2 });
    const client = createRegistryClient({ url: replicas.url });
    const digest = digestOf(large);
    await client.putBlob('team/app', digest, large);
    client.close();

    const get = await send(replicas.url, 'GET', `/v2/team/app/blobs/${digest}`);
    const head = await send(replicas.url, 'HEAD', `/v2/team/app/blobs/${digest}`);

    expect([get.status, head.status]).toEqual([307, 307]);
    // A pool keeps what it fetches, so that it comes over the link once.
    const pool = await send(replicas.url, 'GET', `/v2/team/app/blobs/${digest}`, {
      headers: { 'x-pool-proxy': 'p1' },
    });
    expect([pool.status, pool.body.equals(large)]).toEqual([200, true]);
    const address = get.headers.location ?? '';
    expect(new URL(address).origin).toBe(ceph.endpoint);
    const whole = await fetch(address);
    const part = await fetch(address, { headers: { range: 'bytes=1000-1999' } });
    const size = await fetch(head.headers.location ?? '', { method: 'HEAD' });
    expect(Buffer.from(await whole.arrayBuffer()).equals(large)).toBe(true);
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(large.subarray(1000, 2000))).toBe(true);
    expect(size.headers.get('content-length')).toBe(`${large.length}`);
    for (const answer of [whole, size]) {
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
    }
    await ceph.stop();
  });
});
