import { randomBytes } from 'node:crypto';
import { createRandom } from './fault-random.ts';
import { startRouter } from './router.ts';
import { startServer, type TestServer } from './server.ts';

/** Where replicas keep what they share. */
export interface ReplicaStore {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
}

export interface ReplicasOptions {
  /** The bucket that they share; nothing else is. */
  readonly store: ReplicaStore;
  /** Default 3. */
  readonly count?: number;
  /** Further settings of every replica, as variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Decides where each request goes; printed by whoever reports a failure. Default: `BRICKYARD_TEST_SEED`, or random. */
  readonly seed?: string;
  /** Where a request goes, by its number and among which; default: anywhere, as the seed says. */
  readonly route?: (request: number, running: readonly number[]) => number;
}

export interface Replicas extends AsyncDisposable {
  /** The router's address: each request reaches any running replica. */
  readonly url: string;
  readonly port: number;
  readonly seed: string;
  /** Addresses of the replicas themselves. */
  readonly urls: readonly string[];
  /** Process trees of the replicas, by their first process. */
  readonly pids: readonly number[];
  /** Changes where requests go from now on; undefined = as the seed says. */
  routeBy(route: ReplicasOptions['route']): void;
  /** Ends one as an operator would ('SIGTERM'), or as a power cut would ('SIGKILL'); requests go to the others from before on. */
  stop(index: number, signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** As `stop` with SIGKILL, but requests still go to it: clients see what a balancer without health checks shows them. */
  kill(index: number): Promise<void>;
  /** Starts a stopped one again, under its old address. */
  restart(index: number): Promise<void>;
  /** What all of them printed. */
  output(): string;
  /** Stops all. */
  close(): Promise<void>;
}

/** Real `brickyard serve registry` processes on one bucket, and a router that hands each request to any of them. */
export async function startReplicas(options: ReplicasOptions): Promise<Replicas> {
  const seed = options.seed ?? process.env['BRICKYARD_TEST_SEED'] ?? randomBytes(4).toString('hex');
  const random = createRandom(seed);
  const anywhere: NonNullable<ReplicasOptions['route']> = (_request, running) => random.pick(running);
  let route = options.route ?? anywhere;
  const start = (port?: number): Promise<TestServer> =>
    startServer({
      args: ['registry'],
      env: { ...storeEnvironment(options.store), BRICKYARD_PROCESSES: '1', ...options.env },
      ...(port === undefined ? {} : { port }),
    });
  const servers = await Promise.all(Array.from({ length: options.count ?? 3 }, () => start()));
  const running = new Set(servers.keys());
  let requests = 0;
  const router = await startRouter(() => {
    const choices = [...running];
    if (choices.length === 0) return undefined;
    const server = servers[route(requests++, choices)];
    return server === undefined ? undefined : { host: '127.0.0.1', port: server.port };
  });
  let earlier = '';
  const server = (index: number): TestServer => {
    const found = servers[index];
    if (found === undefined) throw new Error(`there is no replica ${index}`);
    return found;
  };
  const close = async (): Promise<void> => {
    await router.close();
    await Promise.all(servers.map((each) => each.remove()));
  };
  return {
    url: router.url,
    port: router.port,
    seed,
    urls: servers.map((each) => each.url),
    get pids() {
      return servers.map((each) => each.process.pid ?? 0);
    },
    routeBy(next) {
      route = next ?? anywhere;
    },
    async stop(index, signal = 'SIGTERM') {
      running.delete(index);
      await server(index).stop(signal);
    },
    kill: (index) => server(index).stop('SIGKILL'),
    async restart(index) {
      const { port } = server(index);
      earlier += server(index).output();
      await server(index).remove();
      servers[index] = await start(port);
      running.add(index);
    },
    output: () => earlier + servers.map((each) => each.output()).join(''),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The settings that make a server use this bucket. */
export function storeEnvironment(store: ReplicaStore): Record<string, string> {
  return {
    BRICKYARD_STORE_TYPE: 's3',
    BRICKYARD_STORE_S3_ENDPOINT: store.endpoint,
    BRICKYARD_STORE_S3_REGION: store.region,
    BRICKYARD_STORE_S3_BUCKET: store.bucket,
    BRICKYARD_STORE_S3_FORCE_PATH_STYLE: 'true',
    AWS_ACCESS_KEY_ID: store.accessKeyId,
    AWS_SECRET_ACCESS_KEY: store.secretAccessKey,
  };
}
