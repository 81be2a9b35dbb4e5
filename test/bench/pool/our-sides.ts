import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import type { RunningProcess } from '../../helpers/process.ts';
import { program } from './origin.ts';
import type { PoolSide, RunningSide, SideContext } from './side.ts';
import { untilReachable } from './until-reachable.ts';

export interface BrickyardPoolOptions {
  readonly linkMbps: number;
  /** What prewarming may take of the link; undefined: the default of pools.yaml. */
  readonly prewarmMbps?: number;
  /** As pools.yaml has it (`2m`); undefined: its default. */
  readonly slice?: string;
}

export interface BrickyardPool extends PoolSide {
  start(context: SideContext): Promise<RunningPool>;
}

export interface RunningPool extends RunningSide {
  /** `brickyard pool warm`; ends when it is done, or asked to. */
  startWarm(reference: string): Promise<RunningProcess>;
}

/** `brickyard serve pool` with one of its engines. */
export function brickyardPool(engine: Pool['engine'], options: BrickyardPoolOptions): BrickyardPool {
  const { linkMbps, prewarmMbps, slice } = options;
  const prewarming = prewarmMbps === undefined ? '' : `, prewarmMbps: ${prewarmMbps}`;
  return {
    name: `Brickyard, ${engine}`,
    async start({ lab, origin, folder }) {
      const host = `${lab.pool.address}:5000`;
      const credential = join(folder, 'credential');
      await writeFile(credential, `${origin.pool.username}:${origin.pool.password}\n`, { mode: 0o600 });
      const file = join(folder, 'pools.yaml');
      await writeFile(
        file,
        [
          'pools:',
          '  - name: bench',
          `    endpoint: http://${host}`,
          `    listen: ${host}`,
          '    allowPlain: true',
          `    engine: ${engine}`,
          `    folder: ${join(folder, 'pool')}`,
          `    agent: {listen: "127.0.0.1:5090"}`,
          `    origin: {urls: ["http://${origin.host}"], credential: "file:${credential}"}`,
          `    link: {downMbps: ${linkMbps}${prewarming}}`,
          ...(slice === undefined ? [] : [`    cache: {slice: ${slice}}`]),
          '',
        ].join('\n'),
      );
      const args = ['serve', 'pool', '--pool', 'bench', '--pools', file];
      const pool = await lab.pool.start(process.execPath, [program, ...args], { cwd: folder });
      await untilReachable(lab.pool, { url: `http://${host}/v2/`, what: 'serve pool', program: pool });
      return {
        host,
        account: origin.node,
        pid: pool.pid,
        output: () => pool.output(),
        startWarm: (reference) =>
          lab.pool.start(process.execPath, [program, 'pool', 'warm', 'bench', reference, '--pools', file], {
            cwd: folder,
          }),
        stop: () => pool.stop('SIGTERM'),
      };
    },
  };
}
