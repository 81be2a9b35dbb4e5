import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { pushLargeBlob, pushParallel, reads, uploadMemory } from './cases/registry.ts';
import type { Comparison } from './measure.ts';
import { startBrickyard, startDockerRegistry } from './peers.ts';
import { table } from './report.ts';

// `npm run bench [-- --pairs N --only push,parallel,reads,memory,build,rebase]`: Brickyard beside its peers on the same disk in the same run.
// `npm run bench -- --only farm`: many builds at once beside one after another, and pushes during a storm of rebuilds (`--quick`: a small run).
// `npm run bench -- --only class-change`: one class of a Java app changes, beside docker, buildah, crane and jib (or parts
// of it: class-change-peers, class-change-compiled, class-change-cold, class-change-bases; `--quick`: no base of 2 GB).
// `npm run bench -- --only farm-cache` (or farm-cache-npm, farm-cache-maven): such apps built again on a cold worker; needs Docker and the way to their packages.
// `npm run bench -- --only pool-replay`: a week of pulls from a pool, for each policy of prewarming (`--quick`: three days of 200 images).
// `npm run bench -- --only s3` (or parts of it: s3-push, s3-pull, s3-commit, s3-lists, s3-delete; `--quick` for small sizes): all of them
// on one Ceph Object Gateway.
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '5' },
    only: { type: 'string', default: 'push,parallel,reads,memory,build,rebase' },
    quick: { type: 'boolean', default: false },
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
  if ([...selected].some((name) => name.startsWith('class-change'))) {
    // Loaded only when asked for: it needs Docker and buildah.
    const { classChange } = await import('./cases/class-change.ts');
    console.log(await classChange({ selected, scratch, pairs, quick: values.quick, say }));
  }
  if ([...selected].some((name) => name.startsWith('farm-cache'))) {
    // Loaded only when asked for: it needs Docker.
    const { farmCache } = await import('./cases/farm-cache.ts');
    console.log(await farmCache({ selected, scratch, pairs, say }));
  }
  if (selected.has('rebase')) {
    say('apps follow a changed base image …');
    const { rebaseApps } = await import('./cases/rebase.ts');
    const comparison = await rebaseApps({ scratch, pairs, say });
    if (comparison !== undefined) comparisons.push(comparison);
  }
  if (selected.has('farm')) {
    // Loaded only when asked for.
    const { farmUnderLoad } = await import('./cases/farm.ts');
    comparisons.push(...(await farmUnderLoad({ scratch, pairs, quick: values.quick, say })));
  }
  if (selected.has('pool-replay')) {
    // Loaded only when asked for.
    const { replay } = await import('./pool-replay/replay.ts');
    const { outcomeTable } = await import('./pool-replay/report.ts');
    const week = { seed: 'a week', images: 2000, days: 7, pullsPerDay: 6000 };
    const small = { seed: 'a week', images: 200, days: 3, pullsPerDay: 400 };
    console.log(outcomeTable(replay(values.quick ? small : week)));
  }
  if (comparisons.length > 0) console.log(table(comparisons, pairs));
  if ([...selected].some((name) => name === 's3' || name.startsWith('s3-'))) {
    // Loaded only when asked for: it needs Ceph.
    const { s3Bench } = await import('./s3/bench.ts');
    const rounds = pairs;
    console.log(await s3Bench({ selected, scratch, rounds, quick: values.quick, say }));
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
