import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CollectionReport } from '../../../registry/collect/report.ts';
import type { SoakCounts } from './counts.ts';

export interface Collectors {
  /** Kills one at this moment, wherever it is, and starts it again. */
  crash(index: number): Promise<void>;
  stop(): Promise<void>;
}

export interface CollectorsOptions {
  readonly count: number;
  readonly graceMs: number;
  readonly pauseMs: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly counts: SoakCounts;
}

/** Processes that collect the cluster's store again and again. */
export function startCollectors(options: CollectorsOptions): Collectors {
  const { counts } = options;
  const start = (): ChildProcess => {
    const args = [
      join(import.meta.dirname, 'collector-child.ts'),
      String(options.graceMs),
      String(options.pauseMs),
    ];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.once('exit', (code) => {
      if (code !== null && code !== 0) counts.faults.push(`a collector ended with ${code}: ${errors}`);
    });
    createInterface({ input: child.stdout }).on('line', (line) => add(counts, line));
    return child;
  };
  const children = Array.from({ length: options.count }, start);
  const kill = async (child: ChildProcess | undefined): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  return {
    async crash(index) {
      await kill(children[index]);
      counts.collectorsKilled++;
      children[index] = start();
    },
    async stop() {
      await Promise.all(children.map(kill));
    },
  };
}

function add(counts: SoakCounts, line: string): void {
  const report = JSON.parse(line) as CollectionReport;
  counts.collections++;
  counts.deletedBlobs += report.blobs.deleted;
  counts.deletedBytes += report.blobs.deletedBytes;
  counts.revivedBlobs += report.blobs.revived;
  counts.droppedReferences += report.references.dropped;
  counts.collectionErrors += report.errors;
  for (const message of report.messages) counts.faults.push(`collection: ${message}`);
}
