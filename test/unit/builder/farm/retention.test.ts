import { describe, expect, it, vi } from 'vitest';
import { removeOldBuilds } from '../../../../builder/farm/retention.ts';
import { startRetention, takeTurn } from '../../../../builder/farm/retention-loop.ts';
import { timeOrderedId } from '../../../../builder/git/time-ordered-id.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { createJobKeys } from '../../../../core/queue/job-keys.ts';
import type { JobState } from '../../../../core/queue/job-queue.ts';

const day = 24 * 60 * 60 * 1000;
const now = Date.parse('2026-06-01T00:00:00Z');
const keys = createJobKeys('builds/');
const never = new AbortController().signal;

interface Past {
  readonly days: number;
  readonly ref?: string;
  readonly app?: string;
  readonly state?: JobState;
}

/** A build that ended so long ago, with log, artifacts and detail. */
async function put(store: ObjectStore, { days, ref = 'refs/heads/main', app = 'app', state }: Past) {
  const time = now - days * day;
  const id = timeOrderedId(time);
  const at = new Date(time).toISOString();
  const payload = { version: 1, team: 't', app, ref, commit: 'c', pusher: 'p', sequence: 1 };
  const ended = state === 'queued' || state === 'running' ? {} : { finishedAt: at };
  const job = { id, payload, state: state ?? 'succeeded', nonce: 'n', createdAt: at, attempts: 1, ...ended };
  await store.put(keys.order(id), Buffer.alloc(0));
  await store.put(keys.record(id), Buffer.from(JSON.stringify(job)));
  for (const key of [`logs/${id}/000001-000000000000`, `artifacts/${id}/index`, `builds-detail/${id}/000001`])
    await store.put(key, Buffer.from('x'));
  return id;
}

async function keysOf(store: ObjectStore, id: string): Promise<string[]> {
  const { objects } = await store.list({ prefix: '' });
  const order = keys.order(id);
  const found = objects.flatMap(({ key }) => {
    if (key === order) return ['order'];
    return key.includes(id) ? [key.split('/')[0] ?? ''] : [];
  });
  return found.toSorted();
}

function sweep(
  store: ObjectStore,
  settings: Partial<Parameters<typeof removeOldBuilds>[0]['settings']>,
  refs?: readonly string[],
) {
  return removeOldBuilds(
    {
      store,
      log: createSilentLogger(),
      settings: { logs: 0, builds: 0, artifacts: 0, perApp: 0, ...settings },
      resolveRef: async (_team, _app, ref) => (refs === undefined || refs.includes(ref) ? {} : undefined),
    },
    now,
    never,
  );
}

const all = ['artifacts', 'builds', 'builds-detail', 'logs', 'order'];

describe('old builds', () => {
  it('go with all that belongs to them, and young ones stay', async () => {
    const store = createMemoryStore();
    const [old, young] = [await put(store, { days: 31 }), await put(store, { days: 29 })];
    await put(store, { days: 1 });

    const report = await sweep(store, { builds: 30 });

    expect(report).toEqual({ builds: 1, logs: 0, artifacts: 0, damaged: 0 });
    expect(await keysOf(store, old)).toEqual([]);
    expect(await keysOf(store, young)).toEqual(all);
  });

  it('lose their log and what tests left before their record', async () => {
    const store = createMemoryStore();
    const old = await put(store, { days: 40 });
    const newer = await put(store, { days: 20 });
    await put(store, { days: 1 });

    const report = await sweep(store, { logs: 30, artifacts: 10 });

    expect(report).toEqual({ builds: 0, logs: 1, artifacts: 2, damaged: 0 });
    expect(await keysOf(store, old)).toEqual(['builds', 'builds-detail', 'order']);
    expect(await keysOf(store, newer)).toEqual(['builds', 'builds-detail', 'logs', 'order']);
  });

  it('stay whole while they are the newest of a ref that exists, or wait, or run', async () => {
    const store = createMemoryStore();
    const newest = await put(store, { days: 900 });
    const waits = await put(store, { days: 950, state: 'queued' });
    const runs = await put(store, { days: 950, state: 'running' });
    const ofGone = await put(store, { days: 900, ref: 'refs/heads/gone' });
    const ofTree = await put(store, { days: 900, ref: 'refs/brickyard/x' });

    await sweep(store, { builds: 30, logs: 30, artifacts: 30, perApp: 1 }, [
      'refs/heads/main',
      'refs/brickyard/x',
    ]);

    for (const id of [newest, waits, runs]) expect(await keysOf(store, id)).toEqual(all);
    for (const id of [ofGone, ofTree]) expect(await keysOf(store, id)).toEqual([]);
  });

  it('are kept up to a number for each repository', async () => {
    const store = createMemoryStore();
    const ids: string[] = [];
    for (const days of [5, 4, 3, 2, 1]) ids.push(await put(store, { days }));
    const other = await put(store, { days: 5, app: 'other' });

    await sweep(store, { perApp: 3 });

    const left = await Promise.all(ids.map((id) => keysOf(store, id)));
    expect(left.map((found) => found.length)).toEqual([0, 0, 5, 5, 5]);
    expect(await keysOf(store, other)).toEqual(all);
  });

  it('that somebody died over are removed to the end, and so is what no record belongs to', async () => {
    const store = createMemoryStore();
    const half = await put(store, { days: 40 });
    await store.delete(keys.record(half));
    const lost = await put(store, { days: 40 });
    await store.deleteMany([keys.record(lost), keys.order(lost)]);
    const justAdded = await put(store, { days: 0.1 });
    await store.delete(keys.record(justAdded));

    await sweep(store, { builds: 30, logs: 30, artifacts: 30 });

    expect(await keysOf(store, half)).toEqual([]);
    expect(await keysOf(store, lost)).toEqual([]);
    expect(await keysOf(store, justAdded)).toContain('order');
  });

  it('whose record cannot be read stay, and do not keep others from going', async () => {
    const store = createMemoryStore();
    const broken = await put(store, { days: 40 });
    const old = await put(store, { days: 41 });
    await put(store, { days: 1 });
    await store.put(keys.record(broken), Buffer.from('{'));

    const report = await sweep(store, { builds: 30, logs: 30 });

    expect(report.damaged).toBe(1);
    expect(await keysOf(store, broken)).toEqual(all);
    expect(await keysOf(store, old)).toEqual([]);
  });
});

describe('turns', () => {
  it('are taken by one of all workers, and come back when the last one is old enough', async () => {
    const store = createMemoryStore();
    const turns = (everyMs: number): Promise<(number | undefined)[]> =>
      Promise.all(['a', 'b', 'c'].map((holder) => takeTurn({ store, holder }, everyMs)));
    const taken = (all: (number | undefined)[]): number => all.filter((time) => time !== undefined).length;

    expect(taken(await turns(day))).toBe(1);
    expect(taken(await turns(day))).toBe(0);
    expect(taken(await turns(-1))).toBe(1);
  });
});

describe('the loop', () => {
  it('removes what is old, tells of it, and ends when it is closed', async () => {
    const store = createMemoryStore();
    const old = await put(store, { days: 40 });
    await put(store, { days: 35 });
    const told: unknown[] = [];
    const loop = startRetention({
      store,
      log: { warn: () => {}, info: (fields) => void told.push(fields) },
      settings: { logs: 0, builds: 30, artifacts: 0, perApp: 0 },
      resolveRef: async () => ({}),
      holder: 'x',
      everyMs: 20,
    });

    await vi.waitFor(() => expect(told).toContainEqual(expect.objectContaining({ builds: 1 })));
    await loop.close();

    expect(await keysOf(store, old)).toEqual([]);
  });
});
