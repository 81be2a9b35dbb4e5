import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { acceptingWorkers } from '../../../cache-proxy/nginx/accepting-workers.ts';
import { internalSocket } from '../../../cache-proxy/nginx/pool-config.ts';
import { startNginxEngine } from '../../../cache-proxy/nginx/pool-engine.ts';
import { runFolder } from '../../../cache-proxy/nginx/run-folder.ts';
import { waitFor } from '../../helpers/process.ts';
import { type EngineUnderTest, held, openTestPool, pushImage } from '../../suites/pool-engine/fixture.ts';
import { poolEngineSuite } from '../../suites/pool-engine.ts';

const nginx: EngineUnderTest = { kind: 'nginx', start: startNginxEngine, verifies: false };

poolEngineSuite('nginx', nginx);

describe('nginx with nodes that pull a tag at once', () => {
  it('has the registry asked for each of them, and none waits for another', async () => {
    await using test = await openTestPool(nginx);
    const image = await pushImage(test.origin.registry);
    const rest = held();
    test.origin.rule = () => ({ after: rest.until });

    const pulls = Array.from({ length: 10 }, () => test.get(image.byTag));
    try {
      await waitFor(() => test.origin.seen.filter(({ path }) => path === image.byTag).length === 10, {
        what: 'ten questions',
      });
    } finally {
      rest.release();
    }

    for (const { body } of await Promise.all(pulls)) expect(body).toEqual(image.manifest);
  });
});

describe('nginx with another configuration', () => {
  it('is said to have it when no former worker takes connections any more', async () => {
    await using test = await openTestPool(nginx);
    const run = runFolder(test.pool);
    const master = Number(await readFile(join(run, 'nginx.pid'), 'utf8'));
    const workers = (): Promise<ReadonlySet<number>> => acceptingWorkers(master, join(run, internalSocket));
    const [late = 0, ...others] = await workers();
    let taken = false;

    process.kill(late, 'SIGSTOP');
    const reconfigured = test.engine.reconfigure({ ...test.pool, upstreams: [] }).then(() => {
      taken = true;
    });
    try {
      await waitFor(
        async () => {
          const now = await workers();
          return now.size > 1 && !others.some((pid) => now.has(pid)) ? now : undefined;
        },
        { what: 'new workers' },
      );
      // By new workers; each is one more chance to be told too early.
      for (let each = 0; each < 20; each += 1) {
        expect((await test.get('/v2/team/app/manifests/v1?ns=other.test')).status).toBe(404);
      }
      expect([...(await workers())]).toContain(late);
      expect(taken).toBe(false);
    } finally {
      process.kill(late, 'SIGCONT');
    }
    await reconfigured;
    expect([...(await workers())]).not.toContain(late);
  });
});
