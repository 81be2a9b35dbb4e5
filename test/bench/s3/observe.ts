import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CephCluster } from '../../helpers/ceph-cluster.ts';
import { cpuSeconds } from '../measure.ts';
import type { LoadPlan, LoadResult } from './load-client.ts';
import { createRequestLog, type RequestCounts } from './request-log.ts';
import type { Side } from './sides.ts';

/** One run of one side. */
export interface Observation {
  /** Whatever the case's unit says: seconds, milliseconds, MB/s. */
  readonly value: number;
  /** User and system CPU seconds: of the registry alone, and together with the store's. */
  readonly registryCpu: number;
  readonly wholeCpu: number;
  readonly requests: RequestCounts;
  /** What the requests and CPU seconds are for. */
  readonly operations: number;
}

export interface Observer {
  /** Runs `work`, which answers with the observation's value. */
  observe(side: Side, operations: number, work: () => Promise<number>): Promise<Observation>;
}

export function createObserver(ceph: CephCluster): Observer {
  const log = createRequestLog(ceph.gatewayLog);
  const cpu = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  return {
    async observe(side, operations, work) {
      const mark = await log.mark();
      const before = { registry: cpu(side.pids), store: cpu(ceph.pids) };
      const value = await work();
      const registryCpu = cpu(side.pids) - before.registry;
      const wholeCpu = registryCpu + cpu(ceph.pids) - before.store;
      return { value, registryCpu, wholeCpu, operations, requests: await log.since(mark, side.bucket) };
    },
  };
}

/**
 * Runs all sides in turn, another one first in each round, so that a slow phase of the machine hits all. The first `warmUp` rounds do not
 * count: code that is not compiled yet and cold caches say nothing about a server that runs for weeks.
 */
export async function inTurn(
  { rounds, warmUp }: { rounds: number; warmUp: number },
  sides: readonly Side[],
  run: (side: Side, round: number) => Promise<Observation>,
): Promise<ReadonlyMap<string, readonly Observation[]>> {
  const results = new Map<string, Observation[]>(sides.map((side) => [side.name, []]));
  for (let round = 0; round < warmUp + rounds; round++) {
    for (let step = 0; step < sides.length; step++) {
      const side = sides[(round + step) % sides.length];
      if (side === undefined) continue;
      const observation = await run(side, round);
      if (round >= warmUp) results.get(side.name)?.push(observation);
    }
  }
  return results;
}

/** The load client, prepared: `run` starts its clock. */
export async function prepareLoad(plan: LoadPlan): Promise<{ run(): Promise<LoadResult> }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'load-client.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  const line = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the load client ended with an error');
    return value as string;
  };
  await line();
  return {
    async run() {
      child.stdin.write('go\n');
      return JSON.parse(await line()) as LoadResult;
    },
  };
}
