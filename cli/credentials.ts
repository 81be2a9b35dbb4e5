import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';
import { isLoopback } from './listen-address.ts';

/** What `brickyard login` remembers of one server. */
export interface StoredCredential {
  readonly user: string;
  readonly password: string;
}

const defaultServer = 'http://127.0.0.1:5000';

/**
 * The server that a command talks to: `--server`, else BRICKYARD_SERVER, else the one of this machine. Without a scheme it is https, and http on
 * this machine, as docker takes it. Errors: UserError.
 */
export function serverUrl(context: Pick<CliContext, 'env'>, option?: string): string {
  const written = option ?? (context.env['BRICKYARD_SERVER'] || defaultServer);
  const text = /^https?:\/\//i.test(written)
    ? written
    : `${isThisMachine(written) ? 'http' : 'https'}://${written}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.username !== '' || url.pathname !== '/' || url.search !== '') {
    throw new UserError(`"${written}" is no server address, such as ${defaultServer}`, { exitCode: 2 });
  }
  return url.origin;
}

function isThisMachine(host: string): boolean {
  const { hostname = '' } = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : {};
  return hostname === 'localhost' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
}

/** Undefined = not signed in there. Errors: UserError. */
export async function findCredential(
  context: Pick<CliContext, 'env'>,
  server: string,
): Promise<StoredCredential | undefined> {
  const all = await readAll(credentialsFile(context.env));
  return Object.hasOwn(all, server) ? all[server] : undefined;
}

/** Value for an Authorization header. */
export function basicAuthorization({ user, password }: StoredCredential): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** Written whole, readable by nobody else. Returns the file. Errors: UserError. */
export async function storeCredential(
  context: Pick<CliContext, 'env'>,
  server: string,
  credential: StoredCredential,
): Promise<string> {
  const file = credentialsFile(context.env);
  const servers = { ...(await readAll(file)), [server]: credential };
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify({ version: 1, servers }, undefined, 2)}\n`);
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    throw new UserError(`cannot write ${file}: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(temporary, { force: true });
  }
  return file;
}

function credentialsFile(env: CliContext['env']): string {
  const named = env['BRICKYARD_CREDENTIALS'];
  if (named !== undefined && named !== '') return resolve(named);
  const home = env['HOME'] || homedir();
  return join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'brickyard', 'credentials.json');
}

async function readAll(file: string): Promise<Record<string, StoredCredential>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  try {
    const { servers } = JSON.parse(text) as { servers?: Record<string, Partial<StoredCredential>> };
    return Object.fromEntries(
      Object.entries(servers ?? {}).flatMap(([server, { user, password }]) =>
        typeof user === 'string' && typeof password === 'string' ? [[server, { user, password }]] : [],
      ),
    );
  } catch (cause) {
    throw new UserError(`${file} is damaged; remove it and sign in again`, { cause });
  }
}
