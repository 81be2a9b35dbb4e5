import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../../oci/digest.ts';
import { breakOff, createMirrorFixture, type MirrorFixture } from './upstream.ts';

const hub = 'docker.io/nginx';
/** More than is waited for before the answer begins. */
const large = randomBytes(1_300_000);
const small = randomBytes(10_000);

async function push(fixture: MirrorFixture, bytes: Buffer) {
  return (await fixture.upstream.putBlob('library/nginx', digestOf(bytes), bytes)).digest;
}

describe('a mirrored blob', () => {
  it.each([
    ['small', small],
    ['large', large],
    ['empty', Buffer.alloc(0)],
  ])('that is %s comes once for twenty who ask, and stays', async (_, bytes) => {
    await using fixture = await createMirrorFixture();
    const digest = await push(fixture, bytes);

    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { size, body } = await fixture.registry.getBlob(hub, digest);
        return { size, body: await buffer(body) };
      }),
    );

    for (const { size, body } of answers) {
      expect(size).toBe(bytes.length);
      expect(body.equals(bytes)).toBe(true);
    }
    expect(fixture.calls).toEqual(['getBlob library/nginx']);
    // Whoever has the last byte finds the blob stored.
    expect((await fixture.stored.resolveBlob(hub, digest)).size).toBe(bytes.length);
  });

  it('gives ranges, also of what is still on its way', async () => {
    await using fixture = await createMirrorFixture();
    const digest = await push(fixture, large);

    const [first, rest] = await Promise.all([
      fixture.registry.getBlob(hub, digest, { start: 5, end: 1_000_004 }),
      fixture.registry.getBlob(hub, digest, { start: 1_000_005, end: 9_999_999 }),
    ]);

    expect((await buffer(first.body)).equals(large.subarray(5, 1_000_005))).toBe(true);
    expect((await buffer(rest.body)).equals(large.subarray(1_000_005))).toBe(true);
    await expect(
      fixture.registry.getBlob(hub, digest, { start: large.length, end: large.length }),
    ).rejects.toMatchObject({ code: 'RANGE_INVALID' });
    expect(fixture.calls).toHaveLength(1);
  });

  it('goes on coming when all who asked have left', async () => {
    await using fixture = await createMirrorFixture();
    const digest = await push(fixture, large);

    const { body } = await fixture.registry.getBlob(hub, digest);
    body.destroy();
    const again = await fixture.registry.getBlob(hub, digest);

    expect((await buffer(again.body)).equals(large)).toBe(true);
    expect(fixture.calls).toHaveLength(1);
  });

  it.each([
    ['large', large],
    ['small', small],
  ])(
    'that is %s and breaks off is an error for all, stored nowhere, and comes whole the next time',
    async (_, bytes) => {
      await using fixture = await createMirrorFixture();
      const digest = await push(fixture, bytes);
      fixture.distort = breakOff(bytes.length - 1);
      const read = async () => buffer((await fixture.registry.getBlob(hub, digest)).body);

      const results = await Promise.allSettled([read(), read(), read()]);

      expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
      await expect(fixture.stored.resolveBlob(hub, digest)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
      fixture.distort = undefined;
      expect((await read()).equals(bytes)).toBe(true);
    },
  );

  it('that turns out wrong with its last byte is never handed out whole', async () => {
    await using fixture = await createMirrorFixture();
    const digest = await push(fixture, large);
    fixture.distort = breakOff(large.length);
    const { body } = await fixture.registry.getBlob(hub, digest);

    let received = 0;
    await expect(
      (async () => {
        for await (const chunk of body as AsyncIterable<Buffer>) received += chunk.length;
      })(),
    ).rejects.toThrow('the connection broke');

    expect(received).toBeLessThan(large.length);
  });

  it('is BLOB_UNKNOWN where the upstream has none, which is believed for ten seconds', async () => {
    await using fixture = await createMirrorFixture();
    const digest = digestOf(small);
    const ask = () => fixture.registry.getBlob(hub, digest);

    await expect(ask()).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
    await expect(fixture.registry.resolveBlob(hub, digest)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
    expect(fixture.calls).toHaveLength(1);

    await push(fixture, small);
    fixture.now += 10_000;
    expect((await buffer((await ask()).body)).equals(small)).toBe(true);
  });

  it('needs bytes from the upstream even where another repository has it: knowing a digest is no right', async () => {
    await using fixture = await createMirrorFixture();
    const secret = Buffer.from('a secret of another team');
    const digest = digestOf(secret);
    await fixture.stored.putBlob('team/secret', digest, secret);

    await expect(fixture.registry.getBlob(hub, digest)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
    await expect(fixture.registry.resolveBlob(hub, digest)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  });

  it('tells its size before it is fetched', async () => {
    await using fixture = await createMirrorFixture();
    const digest = await push(fixture, large);

    expect(await fixture.registry.resolveBlob(hub, digest)).toMatchObject({ digest, size: large.length });
    expect(fixture.calls).toEqual(['resolveBlob library/nginx']);
  });
});
