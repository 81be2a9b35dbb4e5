import type { NetworkLab } from '../../helpers/network-lab.ts';
import type { BenchImage } from './image.ts';
import type { Account, BenchOrigin } from './origin.ts';

/** One way for nodes to get an image: a proxy on the pool's machine, or none. */
export interface PoolSide {
  readonly name: string;
  /** With an empty cache. The caller stops it. */
  start(context: SideContext): Promise<RunningSide>;
}

export interface SideContext {
  readonly lab: NetworkLab;
  readonly origin: BenchOrigin;
  readonly image: BenchImage;
  /** Its own and empty. */
  readonly folder: string;
}

export interface RunningSide {
  /** Where nodes pull from. */
  readonly host: string;
  /** As whom; undefined: it lets everybody. */
  readonly account?: Account;
  /** The proxy's first process; undefined without a proxy. */
  readonly pid?: number;
  /** What it printed, for who looks for a reason. */
  output(): string;
  stop(): Promise<void>;
}

export const repository = 'team/app';

/** Without a proxy: the pool's machine only routes. */
export const noCache: PoolSide = {
  name: 'no cache',
  start: ({ origin }) =>
    Promise.resolve({
      host: origin.host,
      account: origin.node,
      output: () => '',
      stop: () => Promise.resolve(),
    }),
};
