import { hash } from 'node:crypto';

/** A worker as the dispatcher sees it right now. */
export interface WorkerRoom {
  readonly id: string;
  readonly slots: number;
  /** How many jobs may be released to it now. */
  readonly room: number;
  /** What it runs, and what was released to it and has not begun. */
  readonly load: number;
  /** In the dispatcher's own process: jobs reach it at once. */
  readonly near: boolean;
}

export interface Placeable {
  readonly affinity?: string;
  /** A worker where it went wrong. */
  readonly avoid?: string;
  /** How long it has been kept waiting for its favourite so far. Milliseconds. */
  readonly heldMs: number;
}

/** No worker holds more than so many times the mean because jobs like it (consistent hashing with bounded loads, Mirrokni et al. 2016). */
const mostAboveMean = 1.25;

/**
 * The worker for a job; `hold`: its favourite is busy and worth a moment's wait. Undefined: no worker has room for it.
 * Equal affinity gives the same order of workers everywhere (rendezvous hashing), and a worker that comes or goes moves only its own share of jobs.
 */
export function placeJob(
  job: Placeable,
  workers: readonly WorkerRoom[],
  preferMs: number,
): WorkerRoom | 'hold' | undefined {
  const patient = job.heldMs < preferMs;
  const working = workers.filter(({ slots }) => slots > 0);
  const others = working.filter(({ id }) => id !== job.avoid);
  // Better there than nowhere, and than waiting for ever.
  const allowed = others.length === 0 || !(patient || others.some(hasRoom)) ? working : others;
  const free = allowed.filter(hasRoom);
  if (free.length === 0) return others.length > 0 && working.some(hasRoom) ? 'hold' : undefined;
  if (job.affinity === undefined) return free.reduce((best, next) => (isBetter(next, best) ? next : best));
  const ranked = rank(allowed, job.affinity);
  const [favourite] = ranked;
  if (favourite !== undefined && !hasRoom(favourite) && patient) return 'hold';
  const slots = working.reduce((sum, worker) => sum + worker.slots, 0);
  const load = working.reduce((sum, worker) => sum + worker.load, 0);
  const bound = (worker: WorkerRoom): number =>
    Math.max(1, Math.ceil((mostAboveMean * (load + 1) * worker.slots) / slots));
  return ranked.find((worker) => hasRoom(worker) && worker.load < bound(worker)) ?? ranked.find(hasRoom);
}

function hasRoom({ room }: WorkerRoom): boolean {
  return room > 0;
}

function isBetter(a: WorkerRoom, b: WorkerRoom): boolean {
  const difference = a.load / a.slots - b.load / b.slots;
  if (difference !== 0) return difference < 0;
  return a.near !== b.near ? a.near : a.id < b.id;
}

function rank(workers: readonly WorkerRoom[], affinity: string): WorkerRoom[] {
  return workers
    .map((worker) => ({ worker, weight: hash('sha256', `${worker.id}\n${affinity}`) }))
    .sort((a, b) => (a.weight > b.weight ? -1 : 1))
    .map(({ worker }) => worker);
}
