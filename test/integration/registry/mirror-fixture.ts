import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import bcrypt from 'bcryptjs';
import { type Credentials, createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { type Digest, isDigest } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { startDockerRegistry } from '../../helpers/docker-registry.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

/** The account that the mirror has with its upstream. */
export const mirrorAccount = { username: 'mirror', password: 'upstream pass word' };

export interface RealUpstream {
  readonly url: string;
  /** Somebody who pushes there. */
  readonly client: RegistryClient;
  readonly stop: () => Promise<void>;
}

export const upstreams: readonly [name: string, start: () => Promise<RealUpstream>][] = [
  ['Brickyard with accounts', startBrickyardUpstream],
  ['docker-registry with htpasswd', startDockerUpstream],
];

async function startDockerUpstream(): Promise<RealUpstream> {
  const server = await startDockerRegistry({
    htpasswd: await htpasswdOf({ [mirrorAccount.username]: mirrorAccount.password }),
  });
  const client = createRegistryClient({ url: server.url, credentials: mirrorAccount });
  return { url: server.url, client, stop: () => closing(client, () => server.remove()) };
}

export async function startBrickyardUpstream(): Promise<RealUpstream> {
  const { server, stop } = await startWithAccounts({ [mirrorAccount.username]: mirrorAccount.password });
  const client = createRegistryClient({ url: server.url, credentials: mirrorAccount });
  return { url: server.url, client, stop: () => closing(client, stop) };
}

async function closing(client: RegistryClient, stop: () => Promise<void>): Promise<void> {
  client.close();
  await stop();
}

/** A Brickyard that asks for a password; `rules` as in its configuration. */
export async function startWithAccounts(
  accounts: Readonly<Record<string, string>>,
  options: { env?: Record<string, string>; rules?: unknown } = {},
): Promise<{ server: TestServer; stop: () => Promise<void> }> {
  const folder = await createTempDirectory('accounts');
  const file = join(folder.path, 'users.htpasswd');
  await writeFile(file, await htpasswdOf(accounts), { mode: 0o600 });
  const server = await startServer({
    env: {
      BRICKYARD_AUTH_HTPASSWD: file,
      BRICKYARD_PROCESSES: '1',
      ...(options.rules === undefined ? {} : { BRICKYARD_AUTH_RULES: JSON.stringify(options.rules) }),
      ...options.env,
    },
    args: ['registry'],
  });
  return {
    server,
    async stop() {
      await server.remove();
      await folder.remove();
    },
  };
}

async function htpasswdOf(accounts: Readonly<Record<string, string>>): Promise<string> {
  const lines = Object.entries(accounts).map(async ([name, password]) => {
    return `${name}:${await bcrypt.hash(password, 4)}\n`;
  });
  return (await Promise.all(lines)).join('');
}

/** `BRICKYARD_MIRRORS` for an upstream on loopback, with the mirror's account. */
export function mirrorsOf(url: string, ...entries: readonly Record<string, unknown>[]): string {
  const common = { upstream: url, insecureHttp: true, ...mirrorAccount };
  return JSON.stringify(entries.map((entry) => ({ ...common, ...entry })));
}

export interface MirrorServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly client: RegistryClient;
}

/** A Brickyard without accounts, of one process unless `env` says otherwise. */
export async function startMirror(
  mirrors: string,
  env: Record<string, string> = {},
  data?: string,
): Promise<MirrorServer> {
  const server = await startServer({
    env: { BRICKYARD_PROCESSES: '1', BRICKYARD_MIRRORS: mirrors, ...env },
    args: ['registry'],
    ...(data === undefined ? {} : { data }),
  });
  const client = clientOf(server);
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await server.remove();
    },
  };
}

export function clientOf(server: TestServer, credentials?: Credentials): RegistryClient {
  return createRegistryClient({ url: server.url, ...(credentials === undefined ? {} : { credentials }) });
}

/** Reads a manifest and all its blobs; the client compares every digest. Gives the manifest's. */
export async function pullImage(registry: Registry, repository: string, reference: string): Promise<Digest> {
  const { bytes, descriptor } = await registry.getManifest(repository, reference);
  const { config, layers } = JSON.parse(bytes.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  await Promise.all(
    [config, ...layers].map(async ({ digest }) => {
      if (isDigest(digest)) await buffer((await registry.getBlob(repository, digest)).body);
    }),
  );
  return descriptor.digest;
}
