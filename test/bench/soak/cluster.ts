import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { startReplicas, storeEnvironment } from '../../helpers/replicas.ts';
import { startRouter } from '../../helpers/router.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

export type SoakStoreKind = 'files' | 'ceph';

/** Replicas that share a store and nothing else, behind one address. */
export interface SoakCluster {
  readonly url: string;
  readonly replicas: number;
  /** Variables that make another process of the program use the same store. */
  readonly environment: Readonly<Record<string, string>>;
  /** Power cut of one replica, which then starts again. */
  crash(index: number): Promise<void>;
  output(): string;
  close(): Promise<void>;
}

const replicas = 3;

export function startCluster(
  kind: SoakStoreKind,
  pick: (items: readonly number[]) => number,
): Promise<SoakCluster> {
  return kind === 'ceph' ? startOnCeph(pick) : startOnFiles(pick);
}

async function startOnCeph(pick: (items: readonly number[]) => number): Promise<SoakCluster> {
  const ceph: CephStore = await startCeph();
  const store = { ...ceph, bucket: await ceph.createBucket() };
  const cluster = await startReplicas({
    store,
    count: replicas,
    route: (_request, running) => pick(running),
  });
  return {
    url: cluster.url,
    replicas,
    environment: storeEnvironment(store),
    async crash(index) {
      await cluster.stop(index, 'SIGKILL');
      await inTime(cluster.restart(index), index);
    },
    output: () => cluster.output(),
    async close() {
      await cluster.close();
      await ceph.stop();
    },
  };
}

/** A server that does not start is a fault, and no reason to wait for ever. */
async function inTime<T>(starting: Promise<T>, index: number): Promise<T> {
  const late = AbortSignal.timeout(60_000);
  return Promise.race([
    starting,
    new Promise<never>((_, reject) => {
      late.addEventListener('abort', () =>
        reject(new Error(`replica ${index} did not start within a minute`)),
      );
    }),
  ]);
}

/** Processes of one machine that share a folder. */
async function startOnFiles(pick: (items: readonly number[]) => number): Promise<SoakCluster> {
  const folder = await createTempDirectory('soak');
  const start = (port?: number): Promise<TestServer> =>
    startServer({
      args: ['registry'],
      data: folder.path,
      env: { BRICKYARD_PROCESSES: '1', BRICKYARD_COLLECTION_ENABLED: 'false' },
      ...(port === undefined ? {} : { port }),
    });
  const servers = await Promise.all(Array.from({ length: replicas }, () => start()));
  const running = new Set(servers.keys());
  let earlier = '';
  const router = await startRouter(() => {
    const server = running.size === 0 ? undefined : servers[pick([...running])];
    return server === undefined ? undefined : { host: '127.0.0.1', port: server.port };
  });
  return {
    url: router.url,
    replicas,
    environment: { BRICKYARD_DATA: folder.path },
    async crash(index) {
      const server = servers[index];
      if (server === undefined) throw new Error(`there is no replica ${index}`);
      running.delete(index);
      await server.stop('SIGKILL');
      earlier += server.output();
      servers[index] = await inTime(start(server.port), index);
      running.add(index);
    },
    output: () => earlier + servers.map((server) => server.output()).join(''),
    async close() {
      await router.close();
      await Promise.all(servers.map((server) => server.stop()));
      await folder.remove();
    },
  };
}
