import { setTimeout as delay } from 'node:timers/promises';
import type { WaveDetailView, WaveView } from '../../builder/http/base-image-views.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import type { ServerApi } from '../server-api.ts';
import { formatTable, withoutControls } from '../text.ts';

/** Milliseconds between two looks at waves that are followed. */
const pollMs = 200;

/** What a wave did, count by count, in words. */
export function describeCounts({ counts = {} }: WaveView): string {
  const words = Object.entries(counts).flatMap(([name, number]) => (number > 0 ? [`${number} ${name}`] : []));
  return words.length === 0 ? 'nothing was to do' : words.join(', ');
}

/**
 * Waits for waves, telling of each image as it is done, and prints how they ended. Errors: UserError where something failed, after it was printed.
 */
export async function followWaves(
  context: CliContext,
  api: ServerApi,
  name: string,
  waves: readonly WaveView[],
  { json }: { json: boolean },
): Promise<void> {
  const ended: WaveDetailView[] = [];
  for (const { id } of waves) ended.push(await followWave(context, api, name, id, json));
  if (json) context.stdout(`${JSON.stringify({ waves: ended }, undefined, 2)}\n`);
  const bad = ended.filter(({ wave }) => wave.state !== 'succeeded' || hasFailures(wave));
  if (bad.length === 0) return;
  const reasons = bad.map(
    ({ wave }) =>
      `${wave.repository}:${wave.channel}: ${withoutControls(wave.error ?? describeCounts(wave))}`,
  );
  throw new UserError(reasons.join('\n'));
}

function hasFailures({ counts = {} }: WaveView): boolean {
  return (counts['failed'] ?? 0) + (counts['refused'] ?? 0) > 0;
}

async function followWave(
  context: CliContext,
  api: ServerApi,
  name: string,
  id: string,
  json: boolean,
): Promise<WaveDetailView> {
  const told = new Set<number>();
  for (;;) {
    const detail = await api.call<WaveDetailView>('GET', `/api/v1/base-images/${name}/waves/${id}`);
    for (const [index, image] of detail.images.entries()) {
      if (image.outcome === undefined || told.has(index)) continue;
      told.add(index);
      if (json) continue;
      const tags = image.moved ?? image.tags;
      const lines = [`  ${image.outcome.padEnd(9)} ${image.repository}  ${tags.join(', ')}`];
      if (image.reason !== undefined) lines.push(`            ${withoutControls(image.reason)}`);
      for (const { tag, reason } of image.left ?? [])
        lines.push(`            ${tag} is left alone: ${reason}`);
      context.stdout(`${lines.join('\n')}\n`);
    }
    const { wave } = detail;
    if (wave.finishedAt !== undefined) {
      if (!json) context.stdout(`${wave.repository}:${wave.channel}  ${wave.id}  ${describeCounts(wave)}\n`);
      return detail;
    }
    await delay(pollMs);
  }
}

/** One line for each wave. */
export function wavesTable(waves: readonly WaveView[]): string {
  return formatTable(
    waves.map((wave) => [
      wave.id,
      wave.kind,
      wave.state,
      `${wave.repository}:${wave.channel}`,
      wave.createdAt.slice(0, 19).replace('T', ' '),
      wave.by,
      wave.counts === undefined ? withoutControls(wave.error ?? '') : describeCounts(wave),
    ]),
  );
}
