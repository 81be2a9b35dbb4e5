import { expect, it } from 'vitest';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createJobKeys } from '../../../../core/queue/job-keys.ts';
import { createWorkerDirectory } from '../../../../core/queue/worker-directory.ts';

const keys = createJobKeys('builds/');
const worker = (id: string) => ({
  id,
  owner: 'x',
  slots: 2,
  busy: 1,
  labels: {},
  at: '2026-01-01T00:00:00.000Z',
});

function open() {
  const store = createMemoryStore();
  let time = 0;
  const directory = createWorkerDirectory({
    store,
    keys,
    events: createEventBus(),
    leaseMs: 100,
    elapsed: () => time,
  });
  return {
    store,
    directory,
    wait: (milliseconds: number) => {
      time += milliseconds;
    },
  };
}

it('lists the workers that speak', async () => {
  const { directory } = open();
  await directory.say(worker('b'));
  await directory.say({ ...worker('a'), slots: 0, reason: 'its disk is full' });

  expect(await directory.look()).toEqual({
    live: [{ ...worker('a'), slots: 0, reason: 'its disk is full' }, worker('b')],
    gone: [],
  });
});

it('takes one for gone that stood still for two leases, whatever its clock says', async () => {
  const { directory, wait } = open();
  await directory.say(worker('a'));
  await directory.look();

  wait(200);
  const patient = await directory.look();
  wait(1);
  const gone = await directory.look();

  expect(patient.live).toHaveLength(1);
  expect(gone).toEqual({ live: [], gone: ['a'] });
});

it('reads past a document that a power cut left empty', async () => {
  const { directory, store } = open();
  await directory.say(worker('a'));
  await store.put(keys.worker('b'), Buffer.alloc(0));

  expect((await directory.look()).live).toEqual([worker('a')]);
});

it('has forgotten a worker that said good-bye', async () => {
  const { directory } = open();
  await directory.say(worker('a'));
  await directory.remove('a');

  expect(await directory.look()).toEqual({ live: [], gone: [] });
});
