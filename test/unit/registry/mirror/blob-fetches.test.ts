import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { BlobContent, Registry } from '../../../../oci/registry.ts';
import { createBlobFetches } from '../../../../registry/mirror/blob-fetches.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const content = Buffer.from('the bytes of a blob');
const digest = digestOf(content);
let folder: TempDirectory;
let registry: Registry;
let started: number;
beforeEach(async () => {
  folder = await createTempDirectory('fetches');
  registry = createMemoryRegistry();
  started = 0;
});
afterEach(() => folder.remove());

const open = (overrides: Partial<Registry> = {}) =>
  createBlobFetches({
    registry: { ...registry, ...overrides },
    folder: folder.path,
    log: { warn: () => {} },
  });
const comes = async (...pieces: (Buffer | Error)[]): Promise<BlobContent> => {
  started += 1;
  const body = Readable.from(
    (async function* () {
      for (const piece of pieces) {
        if (piece instanceof Error) throw piece;
        yield piece;
      }
    })(),
    { objectMode: false },
  );
  return { size: content.length, body };
};

describe('fetches of blobs', () => {
  it('are not begun for what was stored between the look and the call', async () => {
    const fetches = open();
    const first = await fetches.open('a', digest, () => comes(content));
    await first?.settled;

    expect(await fetches.open('a', digest, () => comes(content))).toBeUndefined();
    expect(started).toBe(1);
  });

  it('that failed are not joined any more, however long their storing takes to end', async () => {
    const stored = Promise.withResolvers<never>();
    const fetches = open({ putBlob: () => stored.promise });
    const first = await fetches.open('a', digest, () =>
      comes(content.subarray(0, 5), new Error('broke off')),
    );
    await expect(buffer(first?.spool.read('serving', 0, 18) as Readable)).rejects.toThrow('broke off');

    await fetches.open('a', digest, () => comes(content));

    expect(started).toBe(2);
    stored.reject(new OciError('UNAVAILABLE'));
    await fetches.close();
  });

  it('are served to their end where only the store failed', async () => {
    const fetches = open({ putBlob: () => Promise.reject(new OciError('UNAVAILABLE')) });
    const fetch = await fetches.open('a', digest, () => comes(content));
    const body = fetch?.spool.read('serving', 0, 18) as Readable;

    expect((await buffer(body)).equals(content)).toBe(true);
    expect(await fetch?.settled).toBe(false);
  });

  it('let go of their file when the store fails without having read anything', async () => {
    const fetches = open({ putBlob: () => Promise.reject(new OciError('UNAVAILABLE')) });
    const fetch = await fetches.open('a', digest, () => comes(content));

    expect(await fetch?.settled).toBe(false);

    await expect.poll(() => fetch?.spool.closed).toBe(true);
  });

  it('are broken off when the server stops', async () => {
    const fetches = open();
    const body = new Readable({ read: () => {} });
    const fetch = await fetches.open('a', digest, async () => ({ size: content.length, body }));

    const settled = expect(fetch?.settled).rejects.toThrow('the server stops');
    await fetches.close();
    await settled;

    await expect(registry.resolveBlob('a', digest)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  });

  it('fail alike for all who ask at the same time, and begin anew for the next', async () => {
    const fetches = open();
    const refuse = async (): Promise<BlobContent> => {
      started += 1;
      throw new OciError('BLOB_UNKNOWN');
    };

    const results = await Promise.allSettled([1, 2, 3].map(() => fetches.open('a', digest, refuse)));
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(started).toBe(1);

    expect(await fetches.open('a', digest, () => comes(content))).toBeDefined();
    expect(started).toBe(2);
    await fetches.close();
  });
});
