import { expect, it } from 'vitest';
import { noTotals, totalsOf } from '../../../builder/farm/build-totals.ts';
import { addFarmMetrics, type FarmFigures } from '../../../cli/serve/farm-metrics.ts';
import { createMetrics } from '../../../core/metrics.ts';
import type { Waiting, WorkerInfo } from '../../../core/queue/job-queue.ts';

function figures(parts: {
  workers?: readonly WorkerInfo[];
  waiting?: Waiting;
  totals?: FarmFigures['totals'];
}): FarmFigures {
  return {
    workers: async () => parts.workers ?? [],
    waiting: async () => parts.waiting,
    totals: parts.totals ?? (async () => noTotals),
  };
}

const worker = (id: string, slots: number, busy: number): WorkerInfo => ({
  id,
  owner: 'host:1',
  slots,
  busy,
  labels: {},
  at: '',
});

async function render(farm: FarmFigures): Promise<string[]> {
  const metrics = createMetrics();
  addFarmMetrics(metrics, farm);
  return (await metrics.render()).split('\n').filter((line) => line.startsWith('brickyard'));
}

it('backlog, workers and totals are told with few labels, however many teams there are', async () => {
  const flows = Array.from({ length: 50 }, (_, team) => ({
    tenant: `team-${team}`,
    lane: 'branch',
    jobs: 100 - team,
    oldestMs: 1000 * team,
  }));
  const shown = flows.reduce((sum, { jobs }) => sum + jobs, 0);

  const lines = await render(
    figures({
      workers: [worker('a', 2, 2), worker('b', 4, 1), worker('c', 3, 0), worker('d', 0, 0)],
      waiting: { flows, jobs: shown + 7, running: 3 },
      totals: async () =>
        totalsOf('failed', true, {
          phases: { plan: 30 },
          caches: { hit: 4, partial: 0, miss: 0 },
          logBytes: 5,
          apps: [],
        }),
    }),
  );

  const waiting = lines.filter((line) => line.startsWith('brickyard_builds_waiting{'));
  expect(waiting).toHaveLength(22);
  expect(waiting[0]).toBe('brickyard_builds_waiting{team="team-0",lane="branch"} 100');
  expect(waiting.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)).toBe(shown + 7);
  for (const line of [
    'brickyard_builds_running 3',
    'brickyard_builds_oldest_waiting_seconds{lane="branch"} 49',
    'brickyard_workers{state="busy"} 2',
    'brickyard_workers{state="idle"} 1',
    'brickyard_workers{state="closed"} 1',
    'brickyard_worker_slots{state="free"} 6',
    `brickyard_workers_desired ${Math.ceil((shown + 10) / 3)}`,
    'brickyard_build_attempts_total{outcome="failed"} 1',
    'brickyard_build_retries_total 1',
    'brickyard_build_cache_total{level="dependency",outcome="hit"} 4',
    'brickyard_build_phase_seconds_bucket{phase="plan",le="0.01"} 0',
    'brickyard_build_phase_seconds_bucket{phase="plan",le="0.05"} 1',
    'brickyard_build_phase_seconds_bucket{phase="plan",le="+Inf"} 1',
    'brickyard_build_phase_seconds_sum{phase="plan"} 0.03',
    'brickyard_build_phase_seconds_count{phase="plan"} 1',
    'brickyard_build_log_bytes_total 5',
  ]) {
    expect(lines).toContain(line);
  }
});

it('without a store that answers the other numbers still come', async () => {
  const lines = await render(figures({ totals: () => Promise.reject(new Error('away')) }));

  expect(lines).toEqual([]);
});
