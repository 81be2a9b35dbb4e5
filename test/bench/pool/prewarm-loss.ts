import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import { createNetworkLab } from '../../helpers/network-lab.ts';
import { waitFor } from '../../helpers/process.ts';
import { median } from '../measure.ts';
import { pullAtOnce } from './clients.ts';
import { type BenchImage, createBenchImage } from './image.ts';
import { startOrigin } from './origin.ts';
import { brickyardPool, type RunningPool } from './our-sides.ts';
import { repository, type SideContext } from './side.ts';

export interface PrewarmLossOptions {
  readonly scratch: string;
  readonly linkMbps: number;
  readonly nodeMbps: number;
  /** The client's. */
  readonly layerBytes: readonly number[];
  readonly pairs: number;
  readonly engines: readonly Pool['engine'][];
  readonly interrupted: AbortSignal;
  readonly say: (line: string) => void;
}

/** Seconds of one node's pulls, alone and while the pool prewarms another image, in pairs. */
export interface PrewarmLoss {
  readonly engine: Pool['engine'];
  readonly client: 'cold' | 'warm';
  readonly alone: readonly number[];
  readonly during: readonly number[];
}

const prewarmed = 'team/prewarmed';

/**
 * What a node loses by prewarming that goes on meanwhile. Cold: it asks for what is not cached, so both want the link; warm: only the
 * proxy and its disk are shared. Prewarming has its usual share of the link, a fifth.
 */
export async function benchPrewarmLoss(options: PrewarmLossOptions): Promise<PrewarmLoss[]> {
  const { linkMbps, nodeMbps, layerBytes, scratch, engines } = options;
  await using lab = await createNetworkLab({ nodes: 1, linkMbps, nodeMbps });
  const abandon = (): void => void lab.close();
  options.interrupted.addEventListener('abort', abandon);
  try {
    const origin = await startOrigin(lab, join(scratch, 'loss-origin'));
    const image = await createBenchImage(join(scratch, 'loss-image'), layerBytes);
    await origin.push(image, `${repository}:v1`);
    // Never done while a client pulls.
    const sizes = [3, 3, 3].map((times) => times * image.bytes);
    const other = await createBenchImage(join(scratch, 'loss-other'), sizes);
    await origin.push(other, `${prewarmed}:v1`);
    const results: PrewarmLoss[] = [];
    for (const engine of engines) {
      results.push(...(await lossOfEngine(engine, { lab, origin, image }, options)));
    }
    await origin.stop();
    return results;
  } finally {
    options.interrupted.removeEventListener('abort', abandon);
  }
}

async function lossOfEngine(
  engine: Pool['engine'],
  shared: Omit<SideContext, 'folder'>,
  options: PrewarmLossOptions,
): Promise<PrewarmLoss[]> {
  const seconds = { cold: { alone: [], during: [] }, warm: { alone: [], during: [] } } as Record<
    PrewarmLoss['client'],
    Record<'alone' | 'during', number[]>
  >;
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const how of pair % 2 === 0 ? (['alone', 'during'] as const) : (['during', 'alone'] as const)) {
      options.interrupted.throwIfAborted();
      options.say(`prewarm loss, ${engine}, ${how} …`);
      const folder = await mkdtemp(join(options.scratch, 'loss-'));
      const context = { ...shared, folder };
      const running = await brickyardPool(engine, { linkMbps: options.linkMbps }).start(context);
      try {
        const stopWarm = how === 'during' ? await startPrewarm(running, context) : undefined;
        const cold = await pullOnce(running, context, shared.image);
        const warm = await pullOnce(running, context, shared.image);
        await stopWarm?.();
        seconds.cold[how].push(cold);
        seconds.warm[how].push(warm);
        options.say(`  cold ${cold.toFixed(2)} s, warm ${warm.toFixed(2)} s`);
      } finally {
        await running.stop();
        await rm(folder, { recursive: true, force: true });
      }
    }
  }
  return (['cold', 'warm'] as const).map((client) => ({ engine, client, ...seconds[client] }));
}

/** Resolves when layers flow. What it returns ends the prewarming, which must still run then: else nothing was measured. */
async function startPrewarm(running: RunningPool, { lab }: SideContext): Promise<() => Promise<void>> {
  const before = await lab.linkCount();
  const warm = await running.startWarm(`${prewarmed}:v1`);
  let ended = false;
  void warm.ended.then(() => {
    ended = true;
  });
  const gaveUp = (): string | undefined => (ended ? `it ended:\n${warm.output()}` : undefined);
  const flows = async (): Promise<boolean> => (await lab.linkCount()).payload - before.payload > 2e6;
  await waitFor(flows, { what: 'pool warm', gaveUp });
  return async () => {
    if (ended) throw new Error(`pool warm ended before the client: ${warm.output()}`);
    await warm.stop('SIGINT');
  };
}

async function pullOnce(running: RunningPool, { lab }: SideContext, image: BenchImage): Promise<number> {
  const { host, account } = running;
  const target = { host, repository, reference: 'v1', ...(account === undefined ? {} : { account }) };
  const { seconds, correctLayers, failures } = await pullAtOnce('readers', lab.nodes, {
    target,
    image,
    memory: lab.memory,
  });
  if (correctLayers !== image.layers.length) throw new Error(`a client failed: ${failures.join('; ')}`);
  return seconds[0] ?? Number.NaN;
}

/** Markdown. */
export function prewarmLossTable(results: readonly PrewarmLoss[]): string {
  return [
    '| one node, while another image is prewarmed | pairs | alone | during | ratio, median of pairs | promise |',
    '|---|---|---|---|---|---|',
    ...results.map(({ engine, client, alone, during }) => {
      const ratio = median(during.map((seconds, pair) => seconds / (alone[pair] ?? Number.NaN)));
      const verdict = ratio <= 1.05 ? 'reached' : '**missed**';
      const middle = (values: readonly number[]): string => `${median(values).toFixed(2)} s`;
      return `| ${engine}, ${client} | ${alone.length} | ${middle(alone)} | ${middle(during)} | ${ratio.toFixed(3)}× | ≤ 1.05× ${verdict} |`;
    }),
  ].join('\n');
}
