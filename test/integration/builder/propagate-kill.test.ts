import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { waitFor } from '../../helpers/process.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { openPropagation, pushApp, pushBase } from '../../helpers/waves.ts';

const apps = Array.from({ length: 12 }, (_, index) => `team/app${String(index).padStart(2, '0')}`);

function startWorker(root: string, deadly: number) {
  const script = join(import.meta.dirname, 'propagate-process.ts');
  return spawn(process.execPath, [script, root, String(deadly)], { stdio: ['pipe', 'ignore', 'inherit'] });
}

describe('a wave whose worker is killed', () => {
  it('goes on elsewhere where it was, and so does its undo', async () => {
    await using folder = await createTempDirectory('waves');
    const store = createFilesystemStore({ root: folder.path });
    const { propagation, registry } = openPropagation(store);
    const old = await pushBase(registry, 1);
    const before = new Map<string, string>();
    for (const app of apps) before.set(app, await pushApp(store, registry, app, old));
    const fresh = await pushBase(registry, 2);
    const moved = async (): Promise<number> => {
      const now = await Promise.all(apps.map((app) => registry.resolveManifest(app, 'main')));
      return now.filter(({ digest }, index) => digest !== before.get(apps[index] ?? '')).length;
    };
    /** The first worker dies at the fifth app; a second one ends the wave. Returns how many apps had moved in between. */
    const runKilled = async (id: string): Promise<number> => {
      const [, signal] = (await once(startWorker(folder.path, 5), 'exit')) as [null, string];
      expect(signal).toBe('SIGKILL');
      const between = await moved();
      const second = startWorker(folder.path, 0);
      try {
        await waitFor(async () => (await propagation.wave('jdk', id))?.wave.finishedAt !== undefined, {
          what: 'the end of the wave',
          timeoutMs: 60_000,
        });
      } finally {
        second.kill('SIGKILL');
        await once(second, 'exit');
      }
      return between;
    };

    const [wave] = await propagation.start({ name: 'jdk', by: 'test' });
    const afterDeath = await runKilled(wave?.id ?? '');
    const done = await propagation.wave('jdk', wave?.id ?? '');
    const whole = await moved();
    const [undo] = await propagation.undo({ name: 'jdk', by: 'test' });
    await runKilled(undo?.id ?? '');
    const undone = await propagation.wave('jdk', undo?.id ?? '');

    expect(afterDeath).toBeGreaterThan(0);
    expect(afterDeath).toBeLessThan(apps.length);
    expect(done?.wave).toMatchObject({ state: 'succeeded', attempts: 2, counts: { rebased: apps.length } });
    expect(whole).toBe(apps.length);
    const image = await registry.getManifest('team/app07', '0123456789ab-00000002');
    expect(image.bytes.toString()).toContain(fresh);
    expect(undone?.wave).toMatchObject({
      state: 'succeeded',
      attempts: 2,
      counts: { restored: apps.length },
    });
    expect(await moved()).toBe(0);
  });
});
