import { createInterface } from 'node:readline';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { openPropagation } from '../../helpers/waves.ts';

// A worker of waves in a process of its own. It kills itself right before it would move `main` for the nth time, where the record says already
// that it moved; 0 = it lives until its standard input ends.
const [storeRoot = '', deadly = '0'] = process.argv.slice(2);
let moves = 0;
const { propagation } = openPropagation(
  createFilesystemStore({ root: storeRoot }),
  { concurrency: 2 },
  (registry) => ({
    ...registry,
    async putManifest(...args) {
      if (args[4]?.tags?.includes('main') === true) moves += 1;
      if (moves === Number(deadly) && moves > 0) process.kill(process.pid, 'SIGKILL');
      return registry.putManifest(...args);
    },
  }),
);
propagation.work();
createInterface({ input: process.stdin }).on('close', () => process.exit(0));
