import { resolve } from 'node:path';
import type { Pool } from '../cache-proxy/pools/pool.ts';
import { choosePool, readPoolsFile } from '../cache-proxy/pools/read-pools.ts';
import type { CliContext } from './context.ts';

/** One pool of pools.yaml (`--pools`), without its credentials: the only one when no name is given. Errors: UserError. */
export function loadPool(
  context: Pick<CliContext, 'cwd'>,
  { name, file }: { readonly name?: string | undefined; readonly file?: string | undefined },
): Pool {
  return choosePool(readPoolsFile(resolve(context.cwd, file ?? 'pools.yaml')), name);
}
