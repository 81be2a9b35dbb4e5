import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { modeA, modeB } from './soak/modes.ts';
import { describeFaults, soakTable } from './soak/report.ts';
import { runSoak, type SoakResult } from './soak/run-soak.ts';

// `npm run bench:soak [-- --minutes N --store ceph|files --clients N --seed TEXT --only A|B --docker]`: half of the time in each mode.
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    store: { type: 'string', default: 'ceph' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: randomBytes(4).toString('hex') },
    only: { type: 'string' },
    docker: { type: 'boolean', default: false },
  },
});
const { seed, only } = values;
const modes = [modeA, modeB].filter(({ mode }) => only === undefined || only === mode);
const say = (line: string): void => console.error(line);
say(`seed ${seed}`);
const results: SoakResult[] = [];
for (const mode of modes) {
  const result = await runSoak({
    ...mode,
    realClients: mode.mode === 'A' && values.docker ? ['skopeo', 'docker'] : mode.realClients,
    store: values.store === 'files' ? 'files' : 'ceph',
    seconds: Math.round((Number(values.minutes) * 60) / modes.length),
    clients: Number(values.clients),
    seed,
    say,
  });
  results.push(result);
  const faults = describeFaults(result);
  if (faults !== '') say(faults);
}
console.log(`Node ${process.versions.node}, seed ${seed}\n\n${soakTable(results)}`);
if (results.some((result) => describeFaults(result) !== '')) process.exitCode = 1;
