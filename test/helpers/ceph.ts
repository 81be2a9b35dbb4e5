import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isMainThread } from 'node:worker_threads';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { CephAddress } from './ceph-cluster.ts';
import { waitFor } from './process.ts';

/** A real S3 store: Ceph's Object Gateway on the loopback. */
export interface CephStore extends CephAddress {
  /** A new, empty bucket; its name. */
  createBucket(): Promise<string>;
  /** The caller needs it no more. The store itself ends with the test run. */
  stop(): Promise<void>;
}

/**
 * The one Ceph of this test run, started (about 9 seconds) by whoever asks first: test files share it, each with buckets of its own. It ends
 * within a second of the run's end, even when that was a kill. Errors: when Ceph is not installed (says `npm run setup`) or does not start.
 */
export async function startCeph(): Promise<CephStore> {
  const socket = await connectToKeeper();
  // vitest runs each file in a process of its own: the run is that process's parent.
  const run = process.env['VITEST'] !== undefined && isMainThread ? process.ppid : process.pid;
  socket.write(`${run}\n`);
  const lines = createInterface({ input: socket });
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(socket, 'close').then(() => []),
  ])) as string[];
  if (line === undefined) throw new Error('the process that keeps Ceph ended');
  const answer = JSON.parse(line) as CephAddress | { readonly error: string };
  if ('error' in answer) throw new Error(answer.error);
  // Only the connection's end says that we are gone; it must not keep this process alive.
  socket.unref();
  const s3 = s3Client(answer);
  return {
    ...answer,
    createBucket: () => createBucket(s3),
    stop() {
      s3.destroy();
      socket.destroy();
      return Promise.resolve();
    },
  };
}

/** The vendor's own client, for what tests do behind the product's back. */
export function s3Client(
  store: Pick<CephAddress, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'>,
): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = store;
  return new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
}

/** A new, empty bucket; its name. */
export async function createBucket(s3: S3Client): Promise<string> {
  const name = `brickyard-${randomBytes(6).toString('hex')}`;
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  return name;
}

async function connectToKeeper(): Promise<Socket> {
  // One for each checkout and user.
  const owner = createHash('sha256')
    .update(`${userInfo().uid} ${import.meta.dirname}`)
    .digest('hex');
  const name = `by-ceph-${owner.slice(0, 12)}`;
  let asked = 0;
  return waitFor(
    async () => {
      const socket = await connected(`\0${name}`);
      if (socket === undefined && Date.now() - asked > 5_000) {
        asked = Date.now();
        // Outside of the test's process group: whoever kills that one must not leave the store's folder behind.
        const keeper = spawn(process.execPath, [join(import.meta.dirname, 'ceph-keeper.ts'), name], {
          detached: true,
          stdio: 'ignore',
          cwd: '/',
        });
        keeper.unref();
      }
      return socket;
    },
    { what: 'the process that keeps Ceph' },
  );
}

async function connected(path: string): Promise<Socket | undefined> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined;
  }
}
