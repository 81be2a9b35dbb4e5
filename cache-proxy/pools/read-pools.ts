import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createSchemaChecker, sortFaults } from '../../core/document/check-schema.ts';
import { hasErrors } from '../../core/document/document.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { parseDocument } from '../../core/document/parse-document.ts';
import { suggest } from '../../core/document/suggest.ts';
import { UserError } from '../../core/user-error.ts';
import { parseOrigin } from '../nginx/grammar.ts';
import { checkPools, listenOf } from './check-pools.ts';
import type { Credential, Origin, Pool, PoolPeer, Upstream } from './pool.ts';
import { defaultSlice, parsePoolSize, parsePoolTime, parseTimeWindow } from './pool-values.ts';
import { type PoolEntry, poolsSchema, type UpstreamEntry } from './pools-schema.ts';

const maxBytes = 4 * 1024 * 1024;

type SchemaChecker = ReturnType<typeof createSchemaChecker>;

/**
 * The pools of a pools.yaml, as they stand in it. `fileName` is shown in faults, and relative paths start at its folder. No secret is read:
 * `credentialFrom` says where each is. Errors: UserError with every fault at once, each with file:line:column and its line.
 */
export function readPools(
  text: string | Uint8Array,
  fileName: string,
  /** Compiled anew for each file by default, which takes some milliseconds. */
  checkSchema: SchemaChecker = createSchemaChecker(poolsSchema),
): readonly Pool[] {
  const document = parseDocument(fileName, text, { maxBytes });
  const folder = dirname(resolve(fileName));
  let faults = [...document.faults];
  if (!hasErrors(faults)) faults = checkSchema(document);
  const entries = (document.value as { pools?: readonly PoolEntry[] } | null)?.pools ?? [];
  if (!hasErrors(faults)) faults = sortFaults(checkPools(document, entries, folder));
  if (faults.length > 0) {
    const head = faults.length === 1 ? 'pools.yaml has a fault' : `pools.yaml has ${faults.length} faults`;
    throw new UserError(
      `${head}:\n${formatFaults(faults, { file: fileName, text: withoutSecrets(document.text) })}`.trimEnd(),
      {
        exitCode: 2,
      },
    );
  }
  return entries.map((entry) => toPool(entry, entries, folder));
}

/** Secrets that stand where none may; carets stay right as nothing changes its length. */
function withoutSecrets(text: string): string {
  return text
    .replaceAll(/(?<=:\/\/)[^/@\s]+(?=@)/g, (secret) => '*'.repeat(secret.length))
    .replaceAll(/(?<=credential:\s*['"]?)(?!file:|env:)[^\s'"{}]+/g, (secret) => '*'.repeat(secret.length));
}

/** `readPools` of a file. Errors: UserError, also when it cannot be read. */
export function readPoolsFile(path: string): readonly Pool[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const hint = missing ? '; docs/pools.md shows a small one' : '';
    throw new UserError(`cannot read ${path}: ${(cause as Error).message}${hint}`, { exitCode: 2, cause });
  }
  return readPools(bytes, path);
}

/** The pool of that name, or the only one. Errors: UserError that names those there are. */
export function choosePool(pools: readonly Pool[], name?: string): Pool {
  const names = pools.map((pool) => pool.name);
  const found = name === undefined ? undefined : pools.find((pool) => pool.name === name);
  if (found !== undefined) return found;
  const [only, second] = pools;
  if (name === undefined && only !== undefined && second === undefined) return only;
  const shown = `the pools are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
  if (name === undefined) throw new UserError(`which pool? ${shown}`, { exitCode: 2 });
  const near = suggest(name, names);
  throw new UserError(`there is no pool "${name}"; ${near === undefined ? shown : `did you mean ${near}?`}`, {
    exitCode: 2,
  });
}

/** The pool with the credentials that its configuration names, read now. Errors: UserError that names what is wrong with which. */
export function readPoolCredentials(pool: Pool, env: Readonly<Record<string, string | undefined>>): Pool {
  const { origin, upstreams } = pool;
  return {
    ...pool,
    origin: withCredential(origin, `origin of pool ${pool.name}`, env),
    upstreams: upstreams.map((each) => withCredential(each, `upstream ${each.ns} of pool ${pool.name}`, env)),
  };
}

function withCredential<Of extends Origin>(
  origin: Of,
  what: string,
  env: Readonly<Record<string, string | undefined>>,
): Of {
  const { credentialFrom } = origin;
  if (credentialFrom === undefined) return origin;
  return { ...origin, credential: readCredential(credentialFrom, what, env) };
}

function readCredential(
  from: string,
  what: string,
  env: Readonly<Record<string, string | undefined>>,
): Credential {
  const wrong = (reason: string, cause?: unknown): UserError =>
    new UserError(`the credential of the ${what} (${from}) ${reason}`, { exitCode: 2, cause });
  let text: string;
  if (from.startsWith('env:')) {
    const name = from.slice('env:'.length);
    text = env[name] ?? '';
    if (text === '') throw wrong(`is not set: give the variable ${name} the value user:password`);
  } else {
    const path = from.slice('file:'.length);
    try {
      const { mode, size } = statSync(path);
      if ((mode & 0o077) !== 0) throw wrong(`may be read by others; run: chmod 600 ${path}`);
      if (size > 64 * 1024) throw wrong('is too large for one line user:password');
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw wrong(`cannot be read: ${(error as Error).message}`, error);
    }
  }
  const [, username, password] = /^([^:\p{Cc}]{1,256}):([^\p{Cc}]{1,4096})\r?\n?$/u.exec(text) ?? [];
  if (username === undefined || password === undefined) throw wrong('must hold one line user:password');
  return { username, password };
}

function toPool(entry: PoolEntry, entries: readonly PoolEntry[], folder: string): Pool {
  const at = (path: string): string => resolve(folder, path);
  const home = at(entry.folder ?? join('pools', entry.name));
  const { tls, cache = {}, link = {}, auth = {}, prewarm = {} } = entry;
  const down = (link.downMbps ?? 1000) * 1e6;
  const window = link.prewarmWindow === undefined ? undefined : parseTimeWindow(link.prewarmWindow);
  const peers = [...(entry.siblings ?? []), ...(entry.parents ?? [])];
  return {
    name: entry.name,
    endpoint: endpointOf(entry),
    listen: listenOf(entry) ?? '',
    ...(tls === undefined ? {} : { tls: { certificate: at(tls.cert), key: at(tls.key) } }),
    allowPlain: entry.allowPlain ?? false,
    agent: { listen: entry.agent?.listen ?? '127.0.0.1:5095' },
    folder: home,
    engine: entry.engine ?? 'nginx',
    origin: toOrigin(entry.origin, entry.origin.urls, at),
    parents: peers.flatMap((name): PoolPeer[] => {
      const peer = entries.find((each) => each.name === name);
      return peer === undefined ? [] : [{ name, endpoint: endpointOf(peer) }];
    }),
    shards: (entry.shards ?? []).map(normalOrigin),
    cache: {
      folder: cache.dir === undefined ? join(home, 'cache') : at(cache.dir),
      maxSize: bytesOf(cache.maxSize ?? '50g'),
      minFree: bytesOf(cache.minFree ?? '2g'),
      inactive: timeOf(cache.inactive ?? '60d'),
      slice: cache.slice === undefined ? defaultSlice(down / 1e6) : bytesOf(cache.slice),
    },
    link: {
      down,
      prewarm: link.prewarmMbps === undefined ? down / 5 : link.prewarmMbps * 1e6,
      ...(window === undefined ? {} : { prewarmWindow: window }),
      prewarmDay: link.prewarmDayMbps === undefined ? down / 20 : link.prewarmDayMbps * 1e6,
    },
    nodes: { cidrs: entry.nodes?.cidrs ?? [] },
    auth: {
      mode: auth.mode ?? 'token',
      offlineGrace: timeOf(auth.offlineGrace ?? '24h'),
      anonymousRepositories: auth.anonymousRepos ?? [],
    },
    upstreams: (entry.upstreams ?? []).map((upstream) => toUpstream(upstream, at)),
    prewarm: {
      always: prewarm.always ?? [],
      follow: prewarm.follow ?? [],
      topBytes: prewarm.topBytes === undefined ? 0 : bytesOf(prewarm.topBytes),
      halfLife: timeOf(prewarm.halfLife ?? '3d'),
      maxLayer: bytesOf(prewarm.maxLayer ?? '10g'),
    },
    onOriginMissing: entry.onOriginMissing ?? 'keep',
    p2p: { engine: entry.p2p?.engine ?? 'none' },
  };
}

function toOrigin(
  entry: Pick<PoolEntry['origin'], 'names' | 'ca' | 'credential'>,
  urls: readonly string[],
  at: (path: string) => string,
): Origin {
  const { names, ca, credential } = entry;
  const from = credential?.startsWith('file:') === true ? `file:${at(credential.slice(5))}` : credential;
  return {
    urls: urls.map(normalOrigin),
    ...(names === undefined ? {} : { names }),
    ...(ca === undefined ? {} : { ca: at(ca) }),
    ...(from === undefined ? {} : { credentialFrom: from }),
  };
}

function toUpstream(entry: UpstreamEntry, at: (path: string) => string): Upstream {
  const { ns, url, allow = [], deny = [] } = entry;
  return { ...toOrigin(entry, typeof url === 'string' ? [url] : url, at), ns, allow, deny };
}

function endpointOf(entry: PoolEntry): string {
  if (entry.endpoint !== undefined) return normalOrigin(entry.endpoint);
  return normalOrigin(`${entry.tls === undefined ? 'http' : 'https'}://${listenOf(entry) ?? ''}`);
}

/** Without a slash behind it, and without the scheme's own port. */
function normalOrigin(text: string): string {
  const parsed = parseOrigin(text);
  return parsed === undefined ? text : `${parsed.scheme}://${parsed.host}`;
}

function bytesOf(text: string): number {
  return parsePoolSize(text) ?? 0;
}

function timeOf(text: string): number {
  return parsePoolTime(text) ?? 0;
}
