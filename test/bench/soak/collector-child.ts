import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '../../../cli/config.ts';
import { openStore } from '../../../cli/serve/open-store.ts';
import { collect } from '../../../registry/collect/collect.ts';
import { createStoreContext } from '../../../registry/store/create-context.ts';

// node collector-child.ts GRACE_MS PAUSE_MS: collects for ever, now by hints and now the whole store, and prints a report for each run. It takes
// no lease: two of them at once, and one that is killed at any moment, must do no harm.
const [graceMs = 0, pauseMs = 2000] = process.argv.slice(2).map(Number);
const store = openStore(readConfig({ env: process.env, cwd: process.cwd() }));
const context = createStoreContext({ store });
const options = { graceMs, fullIntervalMs: 60_000, rate: 0, concurrency: 8 };
for (let round = 0; ; round++) {
  const report = await collect(context, options, { full: round % 2 === 0 }, []);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  await sleep(pauseMs);
}
