import { describe, expect, it } from 'vitest';
import { placeJob, type WorkerRoom } from '../../../../core/queue/place-job.ts';

const worker = (id: string, more: Partial<WorkerRoom> = {}): WorkerRoom => ({
  id,
  slots: 4,
  room: 4,
  load: 0,
  near: false,
  ...more,
});
const names = Array.from({ length: 10 }, (_, index) => `worker-${index}`);
const place = (affinity: string, workers: readonly WorkerRoom[], heldMs = 0): string | undefined => {
  const found = placeJob({ affinity, heldMs }, workers, 3000);
  return typeof found === 'object' ? found.id : found;
};
const apps = Array.from({ length: 500 }, (_, index) => `team/app-${index}`);

describe('a job', () => {
  it('goes to the worker with the least to do, and to the near one of two such', () => {
    const workers = [
      worker('a', { load: 2 }),
      worker('b', { load: 1 }),
      worker('c', { load: 1, near: true }),
    ];
    expect(placeJob({ heldMs: 0 }, workers, 3000)).toMatchObject({ id: 'c' });
  });

  it('of equal affinity goes to the same worker, and spreads over all of them', () => {
    const workers = names.map((name) => worker(name));
    const counts = Object.groupBy(apps, (app) => place(app, workers) ?? '');
    expect(apps.every((app) => place(app, workers) === place(app, workers.toReversed()))).toBe(true);
    for (const name of names) expect(counts[name]?.length ?? 0).toBeGreaterThan(20);
  });

  it('moves only when its worker goes', () => {
    const workers = names.map((name) => worker(name));
    const fewer = workers.slice(1);
    const moved = apps.filter((app) => place(app, workers) !== place(app, fewer));
    expect(moved.every((app) => place(app, workers) === 'worker-0')).toBe(true);
  });

  it('waits a moment for a busy favourite, and then goes to the next', () => {
    const workers = names.map((name) => worker(name));
    const favourite = place('team/app', workers);
    const busy = workers.map((each) => (each.id === favourite ? { ...each, room: 0, load: 4 } : each));

    expect(place('team/app', busy, 2999)).toBe('hold');
    expect(place('team/app', busy, 3000)).toBe(
      place(
        'team/app',
        workers.filter(({ id }) => id !== favourite),
      ),
    );
  });

  it('does not go to a favourite that has far more to do than the others', () => {
    const workers = names.map((name) => worker(name, { slots: 8, room: 8 }));
    const favourite = place('team/app', workers);
    const loaded = workers.map((each) => (each.id === favourite ? { ...each, load: 4, room: 4 } : each));

    expect(place('team/app', loaded)).not.toBe(favourite);
  });

  it('is tried again elsewhere, for a moment by all means and later where there is room', () => {
    const one = [worker('a')];
    const two = [worker('a'), worker('b', { load: 3, room: 1 })];
    const full = [worker('a'), worker('b', { load: 4, room: 0 })];

    expect(placeJob({ avoid: 'a', heldMs: 0 }, one, 3000)).toMatchObject({ id: 'a' });
    expect(placeJob({ avoid: 'a', heldMs: 0 }, two, 3000)).toMatchObject({ id: 'b' });
    expect(placeJob({ avoid: 'a', heldMs: 0 }, full, 3000)).toBe('hold');
    expect(placeJob({ avoid: 'a', heldMs: 3000 }, full, 3000)).toMatchObject({ id: 'a' });
  });

  it('has no place where nothing has room', () => {
    expect(placeJob({ affinity: 'x', heldMs: 9000 }, [worker('a', { room: 0 })], 3000)).toBeUndefined();
    expect(placeJob({ heldMs: 0 }, [], 3000)).toBeUndefined();
  });
});
