import { expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createDispatcherLease, readWaiting } from '../../../../core/queue/dispatcher-lease.ts';

const nothing = { flows: [], jobs: 0, running: 0 };

function open() {
  const store = createMemoryStore();
  const clock = { now: 0 };
  const dead = new Set<string>();
  const candidate = (worker: string, owner = worker) =>
    createDispatcherLease({
      store,
      key: 'queue/builds-dispatcher',
      owner,
      worker,
      leaseMs: 300,
      isGone: (name) => dead.has(name),
      elapsed: () => clock.now,
    });
  return { store, clock, dead, candidate };
}

it('is held by one, who tells what waits', async () => {
  const { store, candidate } = open();
  const [one, two] = [candidate('one'), candidate('two')];

  await Promise.all([one, two].map((each) => each.keep(() => ({ ...nothing, jobs: 3 }))));

  expect([one.held, two.held].filter(Boolean)).toHaveLength(1);
  expect(await readWaiting(store, 'queue/builds-dispatcher')).toMatchObject({ jobs: 3 });
});

it('passes to another when its holder has stood still for its whole length', async () => {
  const { clock, candidate } = open();
  const [one, two] = [candidate('one'), candidate('two')];
  await one.keep(() => nothing);
  for (clock.now = 10; clock.now < 310; clock.now += 50) await two.keep(() => nothing);
  expect([one.held, two.held]).toEqual([false, false]);

  clock.now = 310;
  await two.keep(() => nothing);
  await one.keep(() => nothing);

  expect([one.held, two.held]).toEqual([false, true]);
});

it('stays with one who renews it', async () => {
  const { clock, candidate } = open();
  const [one, two] = [candidate('one'), candidate('two')];
  for (clock.now = 0; clock.now < 2000; clock.now += 100) {
    await one.keep(() => nothing);
    await two.keep(() => nothing);
  }
  expect([one.held, two.held]).toEqual([true, false]);
});

it('passes at once when its holder has left, or surely is dead', async () => {
  const { dead, candidate } = open();
  const [one, two, three] = [candidate('one'), candidate('two'), candidate('three')];
  await one.keep(() => nothing);
  await two.keep(() => nothing);
  await one.leave();
  await two.keep(() => nothing);
  expect([one.held, two.held]).toEqual([false, true]);

  dead.add('two');
  await three.keep(() => nothing);
  expect(three.held).toBe(true);
});

it('is not taken from another worker of the same process', async () => {
  const { candidate } = open();
  const [one, two] = [candidate('one', 'process'), candidate('two', 'process')];
  await one.keep(() => nothing);
  await two.keep(() => nothing);
  expect([one.held, two.held]).toEqual([true, false]);
});

it('is free when a power cut left its document empty', async () => {
  const { store, candidate } = open();
  await store.put('queue/builds-dispatcher', Buffer.alloc(0));
  const one = candidate('one');
  await one.keep(() => nothing);
  expect(one.held).toBe(true);
});
