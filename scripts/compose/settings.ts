import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import { createBcrypt } from '../../core/auth/bcrypt.ts';
import { setHtpasswdUser } from '../../core/auth/htpasswd.ts';
import { UserError } from '../../core/user-error.ts';
import { readVariables, setVariables } from './variables.ts';

const shipped = resolve(import.meta.dirname, '../../deploy/compose');

/** What the first start may be told; later it stands in `.env`, for everybody to change. */
export interface FirstSettings {
  /** Address and port of this machine where the registry is reached. */
  readonly bind: string;
  /** The same of the pool. */
  readonly poolBind: string;
  /** Path of the container engine's socket. */
  readonly engineSocket: string;
}

/**
 * Lays an installation out in `folder`: the compose files anew each time; settings, accounts and secrets only where they are not there yet. Secrets are
 * random, and readable for whoever may enter the folder, which is its owner: containers read them as a user of their own. Returns the variables of `.env`.
 */
export async function writeSettings(
  folder: string,
  first: FirstSettings,
): Promise<Readonly<Record<string, string>>> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
  for (const name of ['config', 'secrets']) await mkdir(join(folder, name), { recursive: true });
  for (const name of await readdir(shipped)) {
    if (name.endsWith('.yml')) await copyFile(join(shipped, name), join(folder, name));
  }
  for (const name of await readdir(join(shipped, 'config'))) {
    const target = join(folder, 'config', name);
    if (existsSync(target)) continue;
    const text = await readFile(join(shipped, 'config', name), 'utf8');
    // The only file that names addresses itself: pools.yaml reads no variables.
    await writeFile(
      target,
      text.replaceAll('127.0.0.1:5080', first.poolBind).replaceAll('127.0.0.1:5000', first.bind),
    );
  }
  await writeSecrets(folder);
  const file = join(folder, '.env');
  if (!existsSync(file)) await writeFile(file, firstVariables(first), { flag: 'wx' });
  return readVariables(await readFile(file, 'utf8'));
}

/** Sets these variables in the installation's `.env` and leaves everything else in it as it is. */
export async function changeVariables(
  folder: string,
  changes: Readonly<Record<string, string>>,
): Promise<void> {
  const file = join(folder, '.env');
  await writeFile(file, setVariables(await readFile(file, 'utf8'), changes));
}

/** A secret of the installation. */
export async function readSecret(folder: string, name: string): Promise<string> {
  return (await readFile(join(folder, 'secrets', name), 'utf8')).trim();
}

async function writeSecrets(folder: string): Promise<void> {
  const secret = async (name: string, value: string): Promise<string> => {
    const file = join(folder, 'secrets', name);
    if (!existsSync(file)) await writeFile(file, value, { flag: 'wx', mode: 0o644 });
    return (await readFile(file, 'utf8')).trim();
  };
  const redis = await secret('redis-password', randomBytes(24).toString('hex'));
  await secret('redis-url', `redis://:${redis}@redis:6379/0`);
  await secret('builder-key', randomBytes(32).toString('base64'));
  const keys = { id: randomBytes(10).toString('hex'), key: randomBytes(24).toString('hex') };
  await secret(
    's3-credentials',
    `[default]\naws_access_key_id = ${keys.id}\naws_secret_access_key = ${keys.key}\n`,
  );
  const passwords = {
    admin: await secret('admin-password', randomBytes(18).toString('base64url')),
    pool: await secret('pool-password', randomBytes(24).toString('base64url')),
  };
  const accounts = join(folder, 'config/users.htpasswd');
  if (!existsSync(accounts)) await writeFile(accounts, await htpasswd(passwords), { flag: 'wx' });
}

async function htpasswd(passwords: Readonly<Record<string, string>>): Promise<string> {
  const bcrypt = createBcrypt();
  try {
    let text = '';
    for (const [name, password] of Object.entries(passwords)) {
      text = setHtpasswdUser(text, name, await bcrypt.hash(password));
    }
    return text;
  } finally {
    await bcrypt.close();
  }
}

function firstVariables({ bind, poolBind, engineSocket }: FirstSettings): string {
  return `# Made at the first start and yours to change, except for the images, which "npm run compose -- up" sets.
# Who is not meant to read it cannot enter this folder.
COMPOSE_PROJECT_NAME=brickyard
# A store of your own: leave docker-compose.s3.yml out and fill in the three lines below. Without a pool: leave docker-compose.pool.yml out.
COMPOSE_FILE=docker-compose.yml:docker-compose.s3.yml:docker-compose.pool.yml
BRICKYARD_S3_ENDPOINT=http://s3:7480
BRICKYARD_S3_REGION=us-east-1
BRICKYARD_S3_BUCKET=brickyard
# GiB; set when the store is made.
BRICKYARD_S3_CAPACITY=100

# Where this machine is reached, and what clients call it.
BRICKYARD_BIND=${bind}
BRICKYARD_PUBLIC_URL=http://${bind}
BRICKYARD_POOL_BIND=${poolBind}
BRICKYARD_POOL_URL=http://${poolBind}

# The containers' own network, the first three parts of its addresses.
BRICKYARD_NETWORK=${freeNetwork()}

# Container engine for \`build:\` commands: as much as root on this machine. Without: none, /dev/null, 65534.
BRICKYARD_ENGINE=/run/docker.sock
BRICKYARD_ENGINE_SOCKET=${engineSocket}
BRICKYARD_ENGINE_GROUP=${statSync(engineSocket).gid}
`;
}

/** A /24 of 172.30.0.0/15, as `172.30.7`, of which this machine has no address. Errors: UserError. */
function freeNetwork(): string {
  const taken = Object.values(networkInterfaces())
    .flat()
    .map((each) => each?.address ?? '');
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const network = `172.${randomInt(30, 32)}.${randomInt(256)}`;
    if (!taken.some((address) => address.startsWith(`${network}.`))) return network;
  }
  throw new UserError('no free network 172.30.x or 172.31.x: write BRICKYARD_NETWORK into .env');
}
