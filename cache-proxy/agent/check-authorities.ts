import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { UserError } from '../../core/user-error.ts';
import type { Pool } from '../pools/pool.ts';

/** Whether the certificates that registries are checked with can be read. Errors: UserError that names the file and what it is for. */
export function checkAuthorities(pool: Pool): void {
  const wanted = [
    { what: 'origin.ca', ca: pool.origin.ca },
    ...pool.upstreams.map(({ ns, ca }) => ({ what: `ca of the upstream ${ns}`, ca })),
  ];
  for (const { what, ca } of wanted) {
    if (ca === undefined) continue;
    try {
      void new X509Certificate(readFileSync(ca));
    } catch (cause) {
      const unreadable = (cause as NodeJS.ErrnoException).syscall !== undefined;
      const reason = unreadable
        ? `cannot be read: ${(cause as Error).message}`
        : 'holds no certificate (PEM)';
      throw new UserError(`${what} of the pool ${pool.name}: ${ca} ${reason}`, { exitCode: 2, cause });
    }
  }
}
