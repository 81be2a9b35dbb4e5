import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWork, pushBase, startFarm } from './farm-fixture.ts';
import { createWorkshop, git, gitOk } from './git-fixture.ts';

describe('a push becomes an image', () => {
  it('builds, tags and prints the reference and the digest', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();

    const pushed = await git(work, 'push', `${farm.url}/git/team/app.git`, 'main');

    expect(pushed.code).toBe(0);
    const { digest } = await farm.registry.resolveManifest('team/app', 'main');
    expect(pushed.stderr).toContain(`${farm.host}/team/app:main`);
    expect(pushed.stderr).toContain(digest);
    for (const tag of ['latest', commit.slice(0, 12)]) {
      expect((await farm.registry.resolveManifest('team/app', tag)).digest).toBe(digest);
    }
    const { bytes } = await farm.registry.getManifest('team/app', 'main');
    const manifest = JSON.parse(bytes.toString()) as {
      annotations: Record<string, string>;
      layers: unknown[];
    };
    expect(manifest.annotations['org.opencontainers.image.revision']).toBe(commit);
    expect(manifest.layers).toHaveLength(2);
  });
});
