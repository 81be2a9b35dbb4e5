import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { pushLargeBlob, pushParallel, reads, uploadMemory } from './cases/registry.ts';
import type { Comparison } from './measure.ts';
import { startBrickyard, startDockerRegistry } from './peers.ts';
import { table } from './report.ts';

// `npm run bench [-- --pairs N --only push,parallel,reads,memory,build]`: Brickyard beside its peers on the same disk in the same run.
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '5' },
    only: { type: 'string', default: 'push,parallel,reads,memory,build' },
  },
});
const pairs = Number(values.pairs);
const selected = new Set(values.only.split(','));
const folder = resolve(import.meta.dirname, '../../.brickyard');
await mkdir(folder, { recursive: true });
const scratch = await mkdtemp(join(folder, 'bench-'));
const say = (line: string): void => console.error(line);
const comparisons: Comparison[] = [];

try {
  if (['push', 'parallel', 'reads', 'memory'].some((name) => selected.has(name))) {
    const ours = await startBrickyard(scratch);
    const peer = await startDockerRegistry(scratch);
    const bench = { ours, peer, scratch, pairs, say };
    try {
      if (selected.has('push')) {
        say('push of one 300 MB blob …');
        comparisons.push(await pushLargeBlob(bench));
      }
      if (selected.has('parallel')) {
        say('16 parallel pushes …');
        comparisons.push(await pushParallel(bench));
      }
      if (selected.has('reads')) comparisons.push(...(await reads(bench)));
      if (selected.has('memory')) {
        say('64 uploads at once …');
        comparisons.push(await uploadMemory(bench));
      }
    } finally {
      await Promise.all([ours.stop(), peer.stop()]);
    }
  }
  if (selected.has('build')) {
    say('change one file of an app …');
    // Loaded only when asked for: it needs a container engine, the others do not.
    const { changeOneFile } = await import('./cases/build.ts');
    comparisons.push(await changeOneFile({ scratch, pairs, say }));
  }
  console.log(table(comparisons, pairs));
} finally {
  await rm(scratch, { recursive: true, force: true });
}
