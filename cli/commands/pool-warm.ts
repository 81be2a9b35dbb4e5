import type { Command } from 'commander';
import type { WarmEvent, WarmReport } from '../../cache-proxy/prewarm/warm.ts';
import type { WarmLine } from '../../cache-proxy/prewarm/warm-handler.ts';
import { UserError } from '../../core/user-error.ts';
import { callAgent } from '../ask-agent.ts';
import type { CliContext } from '../context.ts';
import { loadPool } from '../load-pool.ts';
import { formatBytes, toJson } from '../text.ts';
import { untilInterrupted } from '../until-interrupted.ts';

interface WarmFlags {
  readonly pools?: string;
  readonly json?: boolean;
}

/** `pool warm NAME [REF…]`: through the agent of the pool, on its machine. Ctrl-C ends it; what was fetched stays. */
export function registerPoolWarm(pool: Command, context: CliContext): void {
  pool
    .command('warm <name> [reference...]')
    .description('fetch images before anybody asks: these, or all that are pinned and followed')
    .option('--pools <file>', 'the pools (default: pools.yaml)')
    .option('--json', 'print JSON: the report, with every layer')
    .action((name: string, references: string[], flags: WarmFlags) => warm(context, name, references, flags));
}

async function warm(
  context: CliContext,
  name: string,
  references: readonly string[],
  { pools, json }: WarmFlags,
): Promise<void> {
  const pool = loadPool(context, { name, file: pools });
  const show = createDisplay(context);
  const report = await untilInterrupted(async (signal) => {
    try {
      const { body } = await callAgent(pool, 'POST', '/_pool/warm', { body: { references }, signal });
      for await (const line of warmLines(body?.pipeThrough(new TextDecoderStream()) ?? [])) {
        if (line.event === 'error') throw new UserError(line.message);
        if (line.event === 'report') return line.report;
        show.event(line);
      }
    } catch (error) {
      if (signal.aborted)
        throw new UserError('stopped; what was fetched stays in the pool', { exitCode: 130 });
      throw error;
    } finally {
      show.close();
    }
    throw new UserError(`the agent of ${name} broke off; its log tells why`);
  });
  context.stdout(json === true ? toJson(report) : describeReport(report));
  if (report.failed > 0)
    throw new UserError(`${report.failed} of ${report.items.length} could not be fetched`);
}

/** Empty ones only say that the agent is still there. */
async function* warmLines(text: AsyncIterable<string> | Iterable<string>): AsyncGenerator<WarmLine> {
  let rest = '';
  for await (const part of text) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line) as WarmLine;
  }
}

function describeReport({ items, hit, missed, seconds }: WarmReport): string {
  if (items.length === 0) return 'everything is warm\n';
  const failed = items
    .filter(({ error }) => error !== undefined)
    .map(({ repository, reference, error }) => `${repository} ${reference}: ${error}\n`);
  const rate = seconds > 0 ? (missed * 8) / 1e6 / seconds : 0;
  const total = `fetched ${formatBytes(missed)} in ${seconds.toFixed(1)} s (${rate.toFixed(1)} Mbit/s), ${formatBytes(hit)} were there\n`;
  return `${failed.join('')}${total}`;
}

/** One line that changes on a terminal, a line for each layer elsewhere. */
function createDisplay(context: CliContext): { event(line: WarmEvent): void; close(): void } {
  const terminal = process.stderr.isTTY;
  const open = new Map<string, number>();
  let missing = 0;
  let done = 0;
  let shown = false;
  const show = (text: string): void => {
    context.stderr(terminal ? `\r${text}\u001B[K` : `${text}\n`);
    shown = true;
  };
  return {
    event(line) {
      if (line.event === 'begin') {
        missing = line.missing;
        show(`${line.items} to look at, ${formatBytes(missing)} to fetch`);
      } else if (line.event === 'progress') {
        open.set(line.reference, line.done);
        if (!terminal) return;
        const under = [...open.values()].reduce((sum, bytes) => sum + bytes, 0);
        show(`${formatBytes(Math.min(missing, done + under))} of ${formatBytes(missing)}`);
      } else if (line.event === 'item') {
        const { repository, reference, hit, missed, seconds, error } = line.item;
        open.delete(reference);
        done += missed;
        if (!terminal || error !== undefined) {
          const outcome =
            error ?? `${formatBytes(missed)} fetched, ${formatBytes(hit)} there, ${seconds.toFixed(1)} s`;
          show(`${repository} ${reference}: ${outcome}`);
        }
      } else show(`the origin cannot be asked; again in ${line.seconds} s`);
    },
    close() {
      if (terminal && shown) context.stderr('\r\u001B[K');
    },
  };
}
