import { readdirSync, readFileSync } from 'node:fs';

/** One side of a comparison: what a run took. */
export interface Sample {
  /** Wall seconds, or whatever `unit` of the case says (requests per second for load). */
  readonly value: number;
  /** CPU seconds that the server spent, user and system. */
  readonly cpuSeconds: number;
}

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  /** What the project promises, as a ratio over the peer; undefined = only told. */
  readonly target?: number;
  readonly ours: readonly Sample[];
  readonly peer: readonly Sample[];
  readonly peerName: string;
  readonly note?: string;
}

/**
 * Runs both sides in turn, the first side changing with each pair, so that a slow phase of the machine hits both. `warmUp` pairs come first
 * and do not count: a server runs for weeks, and its first seconds (JavaScript not compiled yet, caches cold) say nothing about that.
 */
export async function alternate(
  { pairs, warmUp = 0 }: { pairs: number; warmUp?: number },
  ours: (pair: number) => Promise<Sample>,
  peer: (pair: number) => Promise<Sample>,
): Promise<{ ours: Sample[]; peer: Sample[] }> {
  const result = { ours: [] as Sample[], peer: [] as Sample[] };
  for (let pair = 0; pair < warmUp + pairs; pair++) {
    const order = pair % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const);
    for (const side of order) {
      const sample = await (side === 'ours' ? ours : peer)(pair);
      if (pair >= warmUp) result[side].push(sample);
    }
  }
  return result;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Times `run` and the CPU that the process `pid` and all its descendants spent meanwhile. */
export async function timed(pid: number, run: () => Promise<void>): Promise<Sample> {
  const cpu = cpuSeconds(pid);
  const start = performance.now();
  await run();
  return { value: (performance.now() - start) / 1000, cpuSeconds: cpuSeconds(pid) - cpu };
}

/** User and system time of a process tree, from /proc (clock ticks are 1/100 s on Linux). */
export function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, each) => {
    const fields = statFields(each);
    return sum + (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
  }, 0);
}

/** Memory that a process tree alone would free by ending: private pages plus its share of shared ones (PSS), in bytes. */
export function memoryBytes(pid: number): number {
  return processTree(pid).reduce((sum, each) => {
    try {
      const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${each}/smaps_rollup`, 'utf8'));
      return sum + Number(match?.[1] ?? 0) * 1024;
    } catch {
      return sum;
    }
  }, 0);
}

function processTree(pid: number): number[] {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statFields(Number(name))[1] ?? 0);
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const found = [pid];
  for (const each of found) found.push(...(parents.get(each) ?? []));
  return found;
}

/** Fields of /proc/<pid>/stat behind the command's closing parenthesis; empty when the process is gone. */
function statFields(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}
