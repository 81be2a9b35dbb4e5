import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { createLogger } from '../../core/log.ts';
import { UserError } from '../../core/user-error.ts';
import type { RunOptions } from '../../registry/collect/collect.ts';
import { CollectionRefused, type Collector, CollectorBusy } from '../../registry/collect/collector.ts';
import type { CollectionReport } from '../../registry/collect/report.ts';
import type { CollectionPhase } from '../../registry/collect/run.ts';
import { readConfig } from '../config.ts';
import type { CliContext } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { openCollector, readersHoldMs } from '../serve/collection.ts';
import { openStore } from '../serve/open-store.ts';
import { formatBytes } from '../text.ts';

interface GcFlags {
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly grace?: string;
  readonly full?: boolean;
  readonly rate: string;
  readonly json?: boolean;
}

/** `gc`: collects garbage now. On the store itself, while servers run or not. Exit code 1 when something could not be done. */
export function registerGc(program: Command, context: CliContext): void {
  program
    .command('gc')
    .description('free the space of images that were deleted (may run while people push)')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .option('--dry-run', 'only say what would be done')
    .option(
      '--grace <time>',
      'how long a blob without reference stays: 24h, 30m, 0 (default: collection.grace)',
    )
    .option('--full', 'look at the whole store, not only where deletes left hints')
    .option('--rate <n>', 'requests to the store in a second; 0 = no limit', '0')
    .option('--json', 'print JSON')
    .action((flags: GcFlags) => collectGarbage(context, flags));
}

async function collectGarbage(context: CliContext, flags: GcFlags): Promise<void> {
  const graceMs = flags.grace === undefined ? undefined : parseDuration('--grace', flags.grace);
  if (!/^\d{1,6}$/.test(flags.rate)) throw new UserError('--rate is a whole number', { exitCode: 2 });
  const config = readConfig({
    ...(flags.config === undefined ? {} : { file: flags.config }),
    env: context.env,
    cwd: context.cwd,
  });
  const holdMs = readersHoldMs(config);
  if (graceMs !== undefined && graceMs < holdMs) {
    context.stderr(`clients hold addresses of blobs for ${holdMs / 1000} s: --grace is that long\n`);
  }
  const store = openStore(config);
  const collector = openCollector(config, store, createLogger({ level: config.log.level }), {
    rate: Number(flags.rate),
    ...(graceMs === undefined ? {} : { graceMs }),
  });
  const stop = new AbortController();
  const onSignal = (): void => {
    context.stderr('stopping; what is left is taken up by the next run\n');
    stop.abort(new Error('stopped'));
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const progress = showProgress(context);
  try {
    const { lastFull } = await collector.state();
    const report = await runWhenFree(context, collector, {
      ...(flags.full === true ? { full: true } : {}),
      dryRun: flags.dryRun === true,
      signal: stop.signal,
      onProgress: progress.update,
    });
    progress.close();
    context.stdout(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : describe(report, lastFull));
    if (report.errors > 0) throw new UserError(`${report.errors} times something could not be done`);
    if (!report.complete) throw new UserError('stopped before the end');
  } catch (error) {
    if (error instanceof CollectionRefused) throw new UserError(refusal(error), { cause: error });
    if (error instanceof CollectorBusy) throw new UserError(`stopped; ${error.message}`, { cause: error });
    throw error;
  } finally {
    progress.close();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await collector.close();
    store.close();
  }
}

/** A server's collector is done soon; a dead one's lease ends by itself. */
async function runWhenFree(
  context: CliContext,
  collector: Collector,
  options: RunOptions,
): Promise<CollectionReport> {
  let told = false;
  for (;;) {
    try {
      return await collector.run(options);
    } catch (error) {
      if (!(error instanceof CollectorBusy) || options.signal?.aborted === true) throw error;
      if (!told) context.stderr(`waiting: ${error.heldBy} is collecting\n`);
      told = true;
      const { signal } = options;
      await sleep(Math.min(1000, error.waitMs), undefined, signal === undefined ? {} : { signal }).catch(
        () => {},
      );
    }
  }
}

function refusal({ reasons }: CollectionRefused): string {
  return `this store does not do what safe collection needs:\n${reasons.map((reason) => `  - ${reason}\n`).join('')}Nothing was collected. "brickyard doctor" shows what was tried.`;
}

function describe(report: CollectionReport, lastFull: number | undefined): string {
  const { blobs, manifests, references, tags, uploads, dryRun, mode, nextDue } = report;
  const seconds = (Date.parse(report.finished) - Date.parse(report.started)) / 1000;
  const lines: string[] = [];
  const line = (what: string, count: number, text: string): void => {
    if (count > 0) lines.push(`${what.padEnd(10)} ${text}`);
  };
  const gone = dryRun ? 'would go' : 'deleted';
  line(gone, blobs.deleted, `${count(blobs.deleted, 'blob')}, ${formatBytes(blobs.deletedBytes)}`);
  line(gone, manifests.deleted, count(manifests.deleted, 'untagged manifest'));
  line(gone, references.dropped, `${count(references.dropped, 'reference')} that no push stands behind`);
  line(gone, tags.ended, `${count(tags.ended, 'tag')} of deleted manifests`);
  line(gone, uploads.reaped, `${count(uploads.reaped, 'upload session')}, ${formatBytes(uploads.bytes)}`);
  line(gone, uploads.aborted, count(uploads.aborted, 'incomplete upload'));
  const condemned = dryRun ? 'would wait' : 'condemned';
  line(condemned, blobs.condemned, `${count(blobs.condemned, 'blob')}, ${formatBytes(blobs.condemnedBytes)}`);
  line(condemned, manifests.condemned, count(manifests.condemned, 'untagged manifest'));
  line('waiting', blobs.waiting, `${count(blobs.waiting, 'blob')}, ${formatBytes(blobs.waitingBytes)}`);
  line('waiting', manifests.waiting, count(manifests.waiting, 'untagged manifest'));
  line('kept', blobs.revived, `${count(blobs.revived, 'blob')} that were condemned and are needed again`);
  if (lines.length === 0) lines.push('nothing to do');
  if (nextDue !== undefined) {
    lines.push(`What waits is readable, and goes from ${nextDue} on unless somebody needs it.`);
  }
  if (mode === 'hints') {
    const last = lastFull === undefined ? '' : ` (the last time: ${new Date(lastFull).toISOString()})`;
    lines.push(`Followed the hints of deletes; --full looks at everything${last}.`);
  }
  lines.push(`${count(report.requests, 'request')} to the store in ${seconds.toFixed(1)} s`);
  lines.push(...report.messages.map((message) => `error: ${message}`));
  return `${lines.join('\n')}\n`;
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}

const phases: Readonly<Record<CollectionPhase, string>> = {
  uploads: 'upload sessions',
  hints: 'hints',
  repositories: 'repositories',
  blobs: 'ranges of blobs',
};

/** One line that changes on a terminal, a line for each part elsewhere. */
function showProgress(context: CliContext): {
  readonly update: NonNullable<RunOptions['onProgress']>;
  readonly close: () => void;
} {
  const isTerminal = process.stderr.isTTY;
  let current: CollectionPhase | undefined;
  return {
    update(phase, done, total) {
      const far = total === undefined ? String(done) : `${done} of ${total}`;
      if (isTerminal) context.stderr(`\r${phases[phase]}: ${far}\u001B[K`);
      else if (phase !== current) context.stderr(`looking at ${phases[phase]}\n`);
      current = phase;
    },
    close() {
      if (isTerminal && current !== undefined) context.stderr('\r\u001B[K');
      current = undefined;
    },
  };
}
