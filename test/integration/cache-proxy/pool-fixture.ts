import type { PoolHealth } from '../../../cache-proxy/agent/agent-server.ts';
import { type RunningPool, startPool } from '../../../cache-proxy/agent/start-pool.ts';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMetrics } from '../../../core/metrics.ts';
import { type AccountOrigin, accountPassword, startAccountOrigin } from '../../helpers/account-origin.ts';
import { freePort } from '../../helpers/free-port.ts';
import { makePool } from '../../helpers/pool.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

/** A whole pool in front of a registry with accounts: agent, gate and engine as `serve pool` runs them. */
export interface WholePool extends AsyncDisposable {
  readonly origin: AccountOrigin;
  readonly pool: Pool;
  readonly running: RunningPool;
  readonly folder: string;
  /** A token of the pool's own realm for pulling from `repository`, asked for as docker does before each pull. */
  token(repository: string, user?: string): Promise<string>;
  /** With a token of `token`. */
  get(path: string, token: string): Promise<HttpAnswer>;
  health(): Promise<PoolHealth>;
  /** Another process over what this one left behind. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startWholePool(
  engine: Pool['engine'],
  options: Partial<Omit<Pool, 'origin' | 'engine' | 'folder' | 'listen'>> = {},
): Promise<WholePool> {
  const origin = await startAccountOrigin();
  const folder = await createTempDirectory('pool');
  const start = async (attempts: number): Promise<{ pool: Pool; running: RunningPool }> => {
    const made = makePool({
      folder: folder.path,
      listen: `127.0.0.1:${await freePort()}`,
      origin: [origin.url],
      engine,
      ...options,
    });
    const credential = { username: 'pool', password: accountPassword };
    const pool: Pool = { ...made, origin: { ...made.origin, credential } };
    try {
      return {
        pool,
        running: await startPool(pool, { log: createSilentLogger(), metrics: createMetrics() }),
      };
    } catch (error) {
      // Somebody else on this machine may have taken the port meanwhile.
      if (attempts === 0 || !/in use/.test(String(error))) throw error;
      return start(attempts - 1);
    }
  };
  const { pool, ...started } = await start(3);
  let { running } = started;
  const close = async (): Promise<void> => {
    await running.close();
    await origin.close();
    await folder.remove();
  };
  return {
    origin,
    pool,
    get running() {
      return running;
    },
    folder: folder.path,
    async token(repository, user = 'alice') {
      const ping = await send(running.url, 'GET', '/v2/');
      const [, realm = '', service = ''] =
        /^Bearer realm="([^"]+)",service="([^"]+)"/.exec(ping.headers['www-authenticate'] ?? '') ?? [];
      const { pathname, origin: from } = new URL(realm);
      const query = new URLSearchParams({ service, scope: `repository:${repository}:pull` });
      const authorization = `Basic ${Buffer.from(`${user}:${accountPassword}`).toString('base64')}`;
      const answer = await send(from, 'GET', `${pathname}?${query.toString()}`, {
        headers: { authorization },
      });
      if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${answer.body.toString()}`);
      return (JSON.parse(answer.body.toString()) as { token: string }).token;
    },
    get: (path, token) =>
      send(running.url, 'GET', path, {
        headers: { authorization: `Bearer ${token}`, accept: acceptedManifests },
      }),
    async restart() {
      await running.close();
      running = await startPool(pool, { log: createSilentLogger(), metrics: createMetrics() });
    },
    health: async () =>
      JSON.parse((await send(`http://${running.agent}`, 'GET', '/healthz')).body.toString()) as PoolHealth,
    close,
    [Symbol.asyncDispose]: close,
  };
}

const acceptedManifests = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
