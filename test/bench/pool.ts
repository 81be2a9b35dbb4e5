import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { poolBench, sideNames } from './pool/bench.ts';
import { benchPrewarmLoss, prewarmLossTable } from './pool/prewarm-loss.ts';
import { poolReport } from './pool/report.ts';

// `npm run bench:pool [-- --only herd,prewarm --rounds N --pairs N --sides nginx,embedded,… --clients readers,skopeo --nodes N --link MBIT --slice SIZE --layers MB,… --quick]`: an image that
// ten nodes pull at once over a slow link, through our pool and its peers. Needs root: it makes network namespaces, and removes
// them whatever happens. `--quick`: 50 MB instead of 500, one round, our engines and no peers unless `--sides` names them.
const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    pairs: { type: 'string' },
    only: { type: 'string', default: 'herd,prewarm' },
    sides: { type: 'string' },
    clients: { type: 'string', default: 'readers,skopeo' },
    nodes: { type: 'string', default: '10' },
    link: { type: 'string', default: '100' },
    'node-link': { type: 'string', default: '1000' },
    slice: { type: 'string' },
    layers: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const { quick } = values;
const selected = new Set(values.only.split(','));
const sides = values.sides?.split(',') ?? (quick ? ['nginx', 'embedded'] : sideNames);
const unknown = sides.filter((name) => !sideNames.includes(name));
if (unknown.length > 0)
  throw new Error(`there is no side ${unknown.join(', ')}: use ${sideNames.join(', ')}`);
const folder = resolve(import.meta.dirname, '../../.brickyard');
await mkdir(folder, { recursive: true });
const scratch = await mkdtemp(join(folder, 'bench-pool-'));
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)));
}
try {
  const pairs = Number(values.pairs ?? (quick ? 1 : 5));
  const common = {
    scratch,
    linkMbps: Number(values.link),
    nodeMbps: Number(values['node-link']),
    interrupted: interrupted.signal,
    say: (line: string) => console.error(line),
  };
  if (selected.has('herd')) {
    const report = await poolBench({
      ...common,
      pairs,
      sides,
      nodes: Number(values.nodes),
      layerBytes: megabytes(values.layers ?? (quick ? '30,10,10' : '300,100,100')),
      rounds: Number(values.rounds ?? (quick ? 1 : 3)),
      clients: values.clients.split(',').filter((name) => name === 'readers' || name === 'skopeo'),
      ...(values.slice === undefined ? {} : { slice: values.slice }),
    });
    console.log(poolReport(report));
  }
  if (selected.has('prewarm')) {
    const engines = sides.filter((name) => name === 'nginx' || name === 'embedded');
    const layerBytes = megabytes(values.layers ?? (quick ? '30,10,10' : '120,40,40'));
    console.log(`\n${prewarmLossTable(await benchPrewarmLoss({ ...common, pairs, engines, layerBytes }))}`);
  }
} catch (error) {
  // What fails then fails because its machine is gone.
  if (!interrupted.signal.aborted) throw error;
  console.error('interrupted; nothing is left of it');
  process.exitCode = 130;
} finally {
  await rm(scratch, { recursive: true, force: true });
}

function megabytes(text: string): number[] {
  return text.split(',').map((each) => Number(each) * 1e6);
}
