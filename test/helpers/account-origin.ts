import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AccessRule } from '../../core/auth/access-rules.ts';
import { createAccounts } from '../../core/auth/accounts.ts';
import { createBcrypt } from '../../core/auth/bcrypt.ts';
import { createMemoryStore } from '../../core/object-store/memory.ts';
import type { Registry } from '../../oci/registry.ts';
import { authorized } from '../../registry/decorators/authorized.ts';
import { createStoredRegistry } from '../../registry/stored-registry.ts';
import { type BadLine, startBadLine } from './bad-line.ts';
import { startRegistryServer } from './registry-server.ts';
import { createTempDirectory } from './temp.ts';

/** A registry with accounts and tokens, behind a line that can go wrong. */
export interface AccountOrigin extends AsyncDisposable {
  /** Over the line. */
  readonly url: string;
  readonly line: BadLine;
  /** Past everything. */
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Password of every account. */
export const accountPassword = 'correct horse';

/** `alice` has `team/**`, `bob` has nothing of it, `pool` may pull everything. */
const rules: AccessRule[] = [
  { repositories: 'team/**', users: ['alice'], actions: ['pull', 'push'] },
  { repositories: 'other/**', users: ['bob'], actions: ['pull', 'push'] },
  { repositories: '**', users: ['pool'], actions: ['pull'] },
];

export async function startAccountOrigin(): Promise<AccountOrigin> {
  const folder = await createTempDirectory('accounts');
  const bcrypt = createBcrypt();
  const hash = await bcrypt.hash(accountPassword, 5);
  await bcrypt.close();
  const htpasswd = join(folder.path, 'htpasswd');
  const lines = ['alice', 'bob', 'pool'].map((user) => `${user}:${hash}\n`);
  await writeFile(htpasswd, lines.join(''), { mode: 0o600 });
  const store = createMemoryStore();
  const registry = createStoredRegistry({ store });
  // As the challenges of the server below say it.
  const accounts = await createAccounts({ htpasswd, rules, store, service: 'brickyard', warn() {} });
  const server = await startRegistryServer(registry, {
    authenticator: accounts.authenticator,
    registryFor: (identity) => authorized(registry, identity),
    plugins: async ({ app, origin }) => {
      await app.register(accounts.tokenRoutes((request) => origin.address(request)));
    },
  });
  const line = await startBadLine(server.port);
  const close = async (): Promise<void> => {
    await line.close();
    await server.close();
    await accounts.close();
    await folder.remove();
  };
  return { url: line.url, line, registry, close, [Symbol.asyncDispose]: close };
}
