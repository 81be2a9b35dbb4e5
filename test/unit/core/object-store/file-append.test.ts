import { randomBytes } from 'node:crypto';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createByteBudget } from '../../../../core/object-store/byte-budget.ts';
import { createDirectFiles, type DirectFiles } from '../../../../core/object-store/direct-files.ts';
import { createFileAppender } from '../../../../core/object-store/file-append.ts';

describe('the file appender', () => {
  const body = randomBytes(5_000_001);
  let folder: string;
  let path: string;
  let written: { bytes: number; position: number; taken: boolean }[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'brickyard-append-'));
    path = join(folder, 'file');
    written = [];
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Real direct writes, which are counted, and refused from the `refuseFrom`th on. */
  function countedDirectFiles(refuseFrom: number): DirectFiles {
    const real = createDirectFiles();
    return {
      ...real,
      async open(name) {
        const file = await real.open(name);
        if (file === undefined) return undefined;
        return {
          ...file,
          async write(bytes, position, fill) {
            const taken = written.length + 1 < refuseFrom && (await file.write(bytes, position, fill));
            written.push({ bytes, position, taken });
            return taken;
          },
        };
      },
    };
  }

  async function append(direct: DirectFiles, pieces: readonly number[]): Promise<void> {
    const fd = openSync(path, 'w+');
    const writer = createFileAppender(
      { fd, path, begin: () => {} },
      { offset: 0 },
      { budget: createByteBudget(16e6), direct },
    );
    let at = 0;
    for (const end of [...pieces, body.length]) {
      for (; at < end; at = Math.min(end, at + 65_536)) {
        await writer.write(Buffer.from(body.subarray(at, Math.min(end, at + 65_536))));
      }
      expect((await writer.checkpoint()).offset).toBe(at);
    }
    await writer.close();
  }

  it('writes what comes fast past the page cache, in whole blocks', async () => {
    await append(countedDirectFiles(Number.POSITIVE_INFINITY), []);

    expect(readFileSync(path).equals(body)).toBe(true);
    expect(written.length).toBeGreaterThan(0);
    for (const { bytes, position, taken } of written) {
      expect([bytes % 4096, position % 4096, taken]).toEqual([0, 0, true]);
    }
  });

  it('goes on in whole blocks after a checkpoint at an odd place', async () => {
    await append(countedDirectFiles(Number.POSITIVE_INFINITY), [1_500_001, 1_500_002, 3_700_003]);

    expect(readFileSync(path).equals(body)).toBe(true);
    expect(written.some(({ position }) => position > 1_500_002)).toBe(true);
    expect(written.every(({ taken }) => taken)).toBe(true);
  });

  it.each([1, 2])(
    'writes through the page cache when the file system refuses at try %i',
    async (refuseFrom) => {
      await append(countedDirectFiles(refuseFrom), []);

      expect(readFileSync(path).equals(body)).toBe(true);
      expect(written).toHaveLength(refuseFrom);
    },
  );
});
