import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../core/user-error.ts';
import type { CliContext } from './context.ts';
import type { StoredCredential } from './credentials.ts';

interface DockerConfig {
  readonly auths?: Readonly<Record<string, DockerAuth>>;
  /** Program for all registries. */
  readonly credsStore?: string;
  /** Program for one registry. */
  readonly credHelpers?: Readonly<Record<string, string>>;
}

interface DockerAuth {
  /** Base64 of `user:password`. */
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
}

/**
 * What `docker login`, `podman login` or `skopeo login` left for `host` (`registry.example.com:5000`): REGISTRY_AUTH_FILE, else
 * docker's config.json with its credential helpers, else Podman's auth.json. Undefined = nothing. Errors: UserError for a damaged file.
 */
export async function findDockerCredential(
  context: Pick<CliContext, 'env' | 'stderr'>,
  host: string,
): Promise<StoredCredential | undefined> {
  for (const file of authFiles(context.env)) {
    const config = await readAuthFile(file);
    if (config === undefined) continue;
    const found =
      (await askHelper(context, own(config.credHelpers, host), host)) ??
      readAuths(config.auths, host) ??
      (await askHelper(context, config.credsStore, host));
    if (found !== undefined) return found;
  }
  return undefined;
}

function authFiles(env: CliContext['env']): readonly string[] {
  const named = env['REGISTRY_AUTH_FILE'];
  if (named !== undefined && named !== '') return [named];
  const home = env['HOME'] || homedir();
  const runtime = env['XDG_RUNTIME_DIR'];
  return [
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    ...(runtime === undefined || runtime === '' ? [] : [join(runtime, 'containers', 'auth.json')]),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers', 'auth.json'),
  ];
}

async function readAuthFile(file: string): Promise<DockerConfig | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  try {
    return (JSON.parse(text) as DockerConfig | null) ?? undefined;
  } catch (cause) {
    throw new UserError(`${file} is no JSON; mend it, or name another with REGISTRY_AUTH_FILE`, { cause });
  }
}

function readAuths(auths: DockerConfig['auths'], host: string): StoredCredential | undefined {
  for (const key of [
    host,
    `https://${host}`,
    `http://${host}`,
    `https://${host}/v1/`,
    `https://${host}/v2/`,
  ]) {
    const found = own(auths, key);
    if (found === undefined) continue;
    const text = typeof found.auth === 'string' ? Buffer.from(found.auth, 'base64').toString('utf8') : '';
    const colon = text.indexOf(':');
    if (colon > 0) return { user: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
    if (typeof found.username === 'string' && typeof found.password === 'string') {
      return { user: found.username, password: found.password };
    }
  }
  return undefined;
}

/** docker-credential-helpers' protocol: the host on stdin, JSON on stdout, a failure where nothing is kept. */
async function askHelper(
  context: Pick<CliContext, 'env' | 'stderr'>,
  name: string | undefined,
  host: string,
): Promise<StoredCredential | undefined> {
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return undefined;
  const program = `docker-credential-${name}`;
  const { text, missing } = await runHelper(program, host, context.env);
  if (missing)
    context.stderr(`warning: ${program} is not installed, so what it keeps for ${host} is not used\n`);
  if (text === undefined) return undefined;
  try {
    const { Username, Secret } = JSON.parse(text) as { Username?: unknown; Secret?: unknown };
    if (typeof Username !== 'string' || typeof Secret !== 'string' || Secret === '') return undefined;
    // An identity token is no password; it would be refused, and not be told why.
    if (Username !== '<token>') return { user: Username, password: Secret };
    context.stderr(`warning: ${program} keeps an identity token for ${host}, which is not supported\n`);
    return undefined;
  } catch {
    return undefined;
  }
}

function runHelper(
  program: string,
  host: string,
  env: CliContext['env'],
): Promise<{ text?: string; missing: boolean }> {
  return new Promise((resolve) => {
    const options = { env: { ...env }, timeout: 30_000, maxBuffer: 64 * 1024 };
    const child = execFile(program, ['get'], options, (error, stdout) => {
      if (error === null) resolve({ text: stdout, missing: false });
      else resolve({ missing: error.code === 'ENOENT' });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(host);
  });
}

/** Names come from outside: `__proto__` is a name like any other. */
function own<T>(table: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return table !== undefined && table !== null && Object.hasOwn(table, name) ? table[name] : undefined;
}
