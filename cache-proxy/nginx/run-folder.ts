import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from '../pools/pool.ts';
import { controlSocket, internalSocket } from './pool-config.ts';

/** unix(7): the path of a socket has 108 bytes. */
const longestSocket = 100;

/** Where the sockets are: in the pool's folder, or elsewhere when its path is too long for them. */
export function runFolder({ folder }: Pick<Pool, 'folder'>): string {
  const inside = join(folder, 'run');
  if (
    join(inside, controlSocket).length <= longestSocket &&
    join(inside, internalSocket).length <= longestSocket
  ) {
    return inside;
  }
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return join(tmpdir(), `brickyard-pool-${name}`);
}
