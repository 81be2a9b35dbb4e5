import { once } from 'node:events';
import { startCeph } from '../helpers/ceph.ts';
import { startReplicas } from '../helpers/replicas.ts';

// For run.sh: three replicas on a fresh bucket of Ceph, each request at any of them. Prints the router's address, and ends on SIGTERM.
// Settings in the environment (BRICKYARD_REGISTRY_…, BRICKYARD_AUTH_…) are those of every replica.
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      /^BRICKYARD_(REGISTRY|AUTH)_/.test(entry[0]) && entry[1] !== undefined,
  ),
);
const ceph = await startCeph();
const replicas = await startReplicas({ store: { ...ceph, bucket: await ceph.createBucket() }, env });
process.stdout.write(`${replicas.url} seed ${replicas.seed}\n`);
await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
await replicas.close();
await ceph.stop();
