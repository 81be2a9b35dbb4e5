import { expect, it } from 'vitest';
import { ContainerApiError } from '../../../../../builder/engines/docker/container-api.ts';
import type { DiskAmount, DiskUse } from '../../../../../builder/engines/docker/disk-use.ts';
import { createDiskWatch } from '../../../../../builder/engines/docker/disk-watch.ts';
import { JobFailed } from '../../../../../core/queue/job-queue.ts';

const gib = 1024 ** 3;
const limits = { disk: 20 * gib, files: 1000, diskReserve: gib };

it('a build over its disk is told how much it may use', async () => {
  const disk = createDisk();
  disk.write(21 * gib);

  const failed: unknown = await disk.watch('the build commands').catch((error: unknown) => error);

  expect(failed).toBeInstanceOf(JobFailed);
  expect((failed as Error).message).toBe(
    'the build commands used more than 20 GiB of disk (builder.sandbox.disk)',
  );
});

it('so is one that makes too many files, however small they are', async () => {
  const disk = createDisk();
  disk.write(4096, 1001);

  await expect(disk.watch('the tests')).rejects.toThrow(
    'made more than 1000 files and directories (builder.sandbox.files)',
  );
});

it('files are only looked at when the whole disk has grown by half of what is left', async () => {
  const disk = createDisk();

  for (let second = 0; second < 58; second += 2) {
    disk.write(gib / 4);
    await disk.watch('x');
    disk.pass(2);
  }

  expect(disk.looks()).toBe(0);
  disk.write(4 * gib);
  await disk.watch('x');
  expect(disk.looks()).toBe(1);
});

it('what others free at the same time hides a build for a minute at most', async () => {
  const disk = createDisk();
  disk.write(30 * gib);
  disk.others(-30 * gib);
  await disk.watch('x');

  disk.pass(61);

  await expect(disk.watch('x')).rejects.toBeInstanceOf(JobFailed);
});

it('looking takes a small part of the time, however long it takes', async () => {
  const disk = createDisk({ seconds: 10 });
  for (let second = 0; second < 200; second += 2) {
    disk.others(15 * gib);
    await disk.watch('x');
    disk.pass(2);
  }

  expect(disk.looks()).toBeGreaterThan(2);
  expect(disk.looks()).toBeLessThanOrEqual(5);
});

it('a disk that is nearly full is no fault of the build', async () => {
  const disk = createDisk({ room: { bytes: gib / 2, files: 1e9 } });

  await expect(disk.watch('x')).rejects.toBeInstanceOf(ContainerApiError);
});

it('where only the engine can look, it is asked every ten seconds and an engine that is busy is asked again', async () => {
  let asked = 0;
  let now = 0;
  const use: DiskUse = {
    room: async () => undefined,
    async measure() {
      asked += 1;
      return asked === 1 ? undefined : { bytes: 21 * gib };
    },
  };
  const watch = createDiskWatch({ use, room: undefined, limits, now: () => now });

  await watch('x');
  expect(asked).toBe(0);
  now = 11_000;
  await watch('x');

  await expect(watch('x')).rejects.toThrow('20 GiB of disk');
});

function createDisk({ seconds = 0, room = { bytes: 1e15, files: 1e12 } as DiskAmount } = {}) {
  let now = 0;
  let looks = 0;
  let own = { bytes: 0, files: 0 };
  let free = room;
  const use: DiskUse = {
    room: async () => free,
    async measure() {
      looks += 1;
      now += seconds * 1000;
      return own;
    },
  };
  return {
    watch: createDiskWatch({ use, room, limits, now: () => now }),
    looks: () => looks,
    pass(passed: number): void {
      now += passed * 1000;
    },
    write(bytes: number, files = 1): void {
      own = { bytes: own.bytes + bytes, files: own.files + files };
      free = { bytes: free.bytes - bytes, files: free.files - files };
    },
    /** What others write; negative: free. */
    others(bytes: number): void {
      free = { ...free, bytes: free.bytes - bytes };
    },
  };
}
