import { createInterface } from 'node:readline';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { startFarm } from './farm-fixture.ts';

// A farm in a process of its own, to be killed: prints its address, and ends with its standard input.
const [storeRoot = '', cacheDir = '', work = ''] = process.argv.slice(2);
const farm = await startFarm({
  store: createFilesystemStore({ root: storeRoot }),
  cacheDir,
  work: work === 'work',
});
process.stdout.write(`${farm.url}\n`);
createInterface({ input: process.stdin }).on('close', () => process.exit(0));
