import { describe, expect, it } from 'vitest';
import { createDiskGuard } from '../../../../builder/worker/disk-guard.ts';

/** Disks of these sizes; each clearing step frees 100 bytes of the first. */
function createDisks(free: Record<string, number | undefined>, stores = 0) {
  const steps = { left: stores, asked: 0 };
  const guard = createDiskGuard({
    folders: async () => Object.keys(free),
    low: 500,
    high: 800,
    free: async (folder) => free[folder],
    async clear(enough) {
      steps.asked += 1;
      while (steps.left > 0 && !(await enough())) {
        steps.left -= 1;
        free['/cache'] = (free['/cache'] ?? 0) + 100;
      }
    },
  });
  return { guard, steps, free };
}

describe('createDiskGuard', () => {
  it('lets builds begin, and clears nothing, while there is room', async () => {
    const { guard, steps } = createDisks({ '/cache': 500, '/engine': 10_000 });

    expect(await guard.check()).toBeUndefined();
    expect(steps.asked).toBe(0);
  });

  it('clears up to the high mark below the low one, and goes on when that was enough', async () => {
    const { guard, steps, free } = createDisks({ '/cache': 400 }, 10);

    expect(await guard.check()).toBeUndefined();
    expect(free['/cache']).toBe(800);
    expect(steps.left).toBe(6);
  });

  it('refuses with the disk and what to do when clearing did not help', async () => {
    const { guard, free } = createDisks({ '/cache': 9000, '/engine': 120 }, 3);

    expect(await guard.check()).toBe(
      'only 120 B are free on the disk of /engine, and builder.disk.low is 500 B: make room there',
    );

    free['/engine'] = 501;
    expect(await guard.check()).toBeUndefined();
  });

  it('passes over folders that are not there', async () => {
    const { guard } = createDisks({ '/cache': 9000, '/var/lib/docker': undefined });

    expect(await guard.check()).toBeUndefined();
  });
});
