import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createBucket, s3Client } from './ceph.ts';
import type { CephAddress } from './ceph-cluster.ts';
import { freePort } from './free-port.ts';
import { buildGoProgram, minioProgram } from './go-program.ts';
import { startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** A second real S3 store, whose conditional writes differ from Ceph's. */
export interface MinioStore extends Omit<CephAddress, 'gatewayLog'> {
  /** A new, empty bucket; its name. */
  createBucket(): Promise<string>;
  stop(): Promise<void>;
}

/** MinIO on one folder and a free port of the loopback. Errors: where there is no Go, or it does not come up. */
export async function startMinio(): Promise<MinioStore> {
  const program = await buildGoProgram(minioProgram);
  if (program === undefined) throw new Error('MinIO is built by Go, which is not on this machine');
  const directory = await createTempDirectory('minio');
  const keys = { accessKeyId: 'brickyard', secretAccessKey: randomBytes(16).toString('hex') };
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  // PDEATHSIG: should the test process be killed, its store goes too.
  const server = await startProcess(
    'setpriv',
    [
      '--pdeathsig=KILL',
      program,
      'server',
      '--quiet',
      `--address=127.0.0.1:${port}`,
      `--certs-dir=${join(directory.path, 'certs')}`,
      join(directory.path, 'data'),
    ],
    {
      env: {
        MINIO_ROOT_USER: keys.accessKeyId,
        MINIO_ROOT_PASSWORD: keys.secretAccessKey,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
      },
    },
  );
  const s3 = s3Client({ endpoint, region: 'us-east-1', ...keys });
  const stop = async (): Promise<void> => {
    s3.destroy();
    await server.stop('SIGTERM', 5_000);
    await directory.remove();
  };
  try {
    await waitFor(
      async () => (await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined))?.status === 200,
      {
        what: 'MinIO',
        timeoutMs: 60_000,
        gaveUp: () => (server.child.exitCode === null ? undefined : `it ended:\n${server.output()}`),
      },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    endpoint,
    region: 'us-east-1',
    ...keys,
    pids: [server.pid],
    createBucket: () => createBucket(s3),
    stop,
  };
}
