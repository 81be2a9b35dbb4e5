import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CephCluster } from '../../helpers/ceph-cluster.ts';
import { freePort } from '../../helpers/free-port.ts';
import { startFront } from '../../helpers/front.ts';
import { buildGoProgram, distributionProgram } from '../../helpers/go-program.ts';
import { startProcess, waitFor } from '../../helpers/process.ts';
import { storeEnvironment } from '../../helpers/replicas.ts';
import { startServer } from '../../helpers/server.ts';

/** docker-registry does not start where the machine names certificates for AWS (its SDK cannot put them into its own transport). */
export const peerEnvironment = { OTEL_TRACES_EXPORTER: 'none', AWS_CA_BUNDLE: undefined };

/** A registry on a bucket of its own in the one Ceph. */
export interface Side {
  readonly name: string;
  readonly url: string;
  /** What it consists of; each with all its children. */
  readonly pids: readonly number[];
  readonly bucket: string;
  /** Peers only: the program and its configuration, for what is a command of its own (`garbage-collect`). */
  readonly command?: readonly [program: string, config: string];
  stop(): Promise<void>;
}

export interface SideOptions {
  readonly ceph: CephCluster;
  readonly scratch: string;
  readonly bucket: string;
  /** Pulls are answered by an address in the store instead of bytes. */
  readonly redirect: boolean;
}

export async function startOurs(options: SideOptions): Promise<Side> {
  const { ceph, bucket, redirect } = options;
  const server = await startServer({
    args: ['registry'],
    env: {
      ...storeEnvironment({ ...ceph, bucket }),
      ...(redirect ? { BRICKYARD_REGISTRY_REDIRECT_MODE: 'on' } : {}),
    },
  });
  return {
    name: redirect ? 'brickyard, redirect' : 'brickyard',
    url: server.url,
    pids: [server.process.pid ?? 0],
    bucket,
    stop: () => server.remove(),
  };
}

/** As docs/nginx.md sets it up: the registry behind the nginx that `brickyard front render` configures, which keeps blobs on its disk. */
export async function startOursBehindFront({ ceph, bucket }: SideOptions): Promise<Side> {
  const env = {
    ...storeEnvironment({ ...ceph, bucket }),
    BRICKYARD_TRUSTED_PROXIES: '127.0.0.1',
    BRICKYARD_REGISTRY_ACCEL_MODE: 'on',
  };
  const server = await startServer({ args: ['registry'], env });
  try {
    const front = await startFront([server.url], env);
    return {
      name: 'brickyard behind its nginx',
      url: front.url,
      pids: [server.process.pid ?? 0, front.nginx.pid],
      bucket,
      async stop() {
        await front.stop();
        await server.remove();
      },
    };
  } catch (error) {
    await server.remove();
    throw error;
  }
}

/** Debian's docker-registry (2.8.2). */
export function startDockerRegistryOnS3(options: SideOptions): Promise<Side> {
  return startDistribution('docker-registry', 'docker-registry', options);
}

/** Its successor, built by Go. Undefined: this machine has no Go, or cannot fetch it. */
export async function startDistributionV3(
  options: SideOptions,
  say: (line: string) => void,
): Promise<Side | undefined> {
  try {
    const program = await buildGoProgram(distributionProgram);
    if (program !== undefined)
      return await startDistribution(`distribution ${distributionProgram.version}`, program, options);
    say('distribution v3 is left out: there is no Go here');
  } catch (error) {
    say(`distribution v3 is left out: ${(error as Error).message}`);
  }
  return undefined;
}

async function startDistribution(name: string, program: string, options: SideOptions): Promise<Side> {
  const { ceph, bucket, scratch, redirect } = options;
  const folder = await mkdtemp(join(scratch, 'peer-'));
  const port = await freePort();
  const config = join(folder, 'config.yml');
  // Deletion and the cache of blob descriptors as Debian's package configures them; chunks as large as the S3 driver's default.
  await writeFile(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  s3:
    accesskey: ${ceph.accessKeyId}
    secretkey: ${ceph.secretAccessKey}
    region: ${ceph.region}
    regionendpoint: ${ceph.endpoint}
    forcepathstyle: true
    secure: false
    bucket: ${bucket}
  delete: {enabled: true}
  redirect: {disable: ${!redirect}}
  cache: {blobdescriptor: inmemory}
http: {addr: "127.0.0.1:${port}"}
`,
  );
  const server = await startProcess(program, ['serve', config], { env: peerEnvironment });
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    await server.stop('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await waitFor(async () => (await fetch(`${url}/v2/`).catch(() => undefined))?.status === 200, {
      what: name,
      gaveUp: () => (server.child.exitCode === null ? undefined : `it ended:\n${server.output()}`),
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: redirect ? `${name}, redirect` : name,
    url,
    pids: [server.pid],
    bucket,
    command: [program, config],
    stop,
  };
}
