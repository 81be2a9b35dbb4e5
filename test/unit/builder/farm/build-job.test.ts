import { describe, expect, it } from 'vitest';
import { buildJob } from '../../../../builder/farm/build-job.ts';
import { createBuildService } from '../../../../builder/farm/build-service.ts';
import { defaultDispatch, dispatchPolicy } from '../../../../builder/farm/dispatch-settings.ts';
import type { RefUpdate } from '../../../../builder/git/git-host.ts';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createEmbeddedQueue } from '../../../../core/queue/embedded.ts';

const payload = {
  version: 1,
  team: 'shop',
  app: 'web',
  ref: 'refs/heads/main',
  commit: 'c'.repeat(40),
  sequence: 7,
  defaultBranch: true,
  pusher: 'dev',
};
const update = (id: string, more: Partial<RefUpdate> = {}): RefUpdate => ({
  id,
  team: 'shop',
  app: 'web',
  ref: 'refs/heads/main',
  commit: 'c'.repeat(40),
  sequence: 7,
  defaultBranch: false,
  pusher: 'dev',
  pushOptions: [],
  ...more,
});

async function lanesOf(updates: readonly RefUpdate[]): Promise<(string | undefined)[]> {
  const store = createMemoryStore();
  const events = createEventBus();
  const queue = createEmbeddedQueue({ store, prefix: 'builds/', events });
  await createBuildService({ store, queue, events }).accepted(updates);
  return Promise.all(updates.map(async ({ id }) => (await queue.get(id))?.lane));
}

describe('the job of a build', () => {
  it('is paid for by its team, and superseded by newer pushes of its ref', () => {
    expect(buildJob('a', payload, 'branch')).toEqual({
      id: 'a',
      payload,
      tenant: 'shop',
      lane: 'branch',
      affinity: 'shop/web',
      group: 'shop/web refs/heads/main',
      sequence: 7,
    });
  });

  it('of a wave is superseded by nothing', () => {
    const wave = { id: 'w', repository: 'shop/web', baseKey: '01234567' };
    const job = buildJob('a', { ...payload, wave }, 'rebuild');
    expect(job).toMatchObject({ tenant: 'shop', lane: 'rebuild' });
    expect(job.group).toBeUndefined();
  });

  it('is interactive when somebody waits for it', async () => {
    expect(await lanesOf([update('a')])).toEqual(['interactive']);
    expect(await lanesOf([update('a', { pushOptions: ['build.nowait'] })])).toEqual(['branch']);
  });

  it('is interactive for the default branch alone among many refs', async () => {
    const refs = ['main', 'x', 'y'].map((name) =>
      update(`b-${name}`, { ref: `refs/heads/${name}`, defaultBranch: name === 'main' }),
    );
    expect(await lanesOf(refs)).toEqual(['interactive', 'branch', 'branch']);
  });
});

it('the lanes of builds leave a slot to people', () => {
  const policy = dispatchPolicy(defaultDispatch);
  expect(policy.lanes.map(({ name, weight, background }) => [name, weight, background])).toEqual([
    ['interactive', 60, false],
    ['branch', 25, false],
    ['rebuild', 10, true],
    ['rebase', 5, true],
  ]);
  expect(policy.reserve).toBe(0.2);
});
