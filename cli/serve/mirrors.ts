import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../core/log.ts';
import type { Metrics } from '../../core/metrics.ts';
import { UserError } from '../../core/user-error.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from '../../oci/client.ts';
import type { Registry } from '../../oci/registry.ts';
import { mirrored } from '../../registry/decorators/mirrored.ts';
import type { MirrorOptions } from '../../registry/mirror/mirror.ts';
import type { Config } from '../config.ts';
import { type MirrorConfig, parseUpstream } from '../mirror-config.ts';
import { mirrorObserver } from './mirror-metrics.ts';

export interface Mirrors {
  /** The registry with its mirrored repositories; the given one where none are configured. */
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Token services of registries that have them on another host; everybody else's are configured (`authRealmHosts`). */
const knownRealmHosts: Readonly<Record<string, string>> = {
  'registry-1.docker.io': 'auth.docker.io',
  'registry.gitlab.com': 'gitlab.com',
};

/** An upstream that is silent for so long has failed. */
const timeoutMs = 30_000;

/** Errors: UserError for a file that cannot be read. */
export function openMirrors(deps: {
  readonly config: Pick<Config, 'mirrors'>;
  readonly registry: Registry;
  /** The same registry, accepting manifests whose blobs are not there yet. */
  readonly createSparse: () => Registry;
  readonly cacheDir: string;
  readonly log: Logger;
  /** Where upstreams are counted. */
  readonly metrics?: Metrics | undefined;
}): Mirrors {
  const { config, registry, createSparse, cacheDir, log, metrics } = deps;
  if (config.mirrors.length === 0) return { registry, close: async () => {} };
  const clients: RegistryClient[] = [];
  const mirrors = config.mirrors.map((mirror): MirrorOptions => {
    const { host, options } = clientOptions(mirror as MirrorConfig);
    const upstream = createRegistryClient(options);
    clients.push(upstream);
    return {
      prefix: mirror.prefix,
      host,
      upstream,
      allow: mirror.allow ?? [],
      deny: mirror.deny ?? [],
      library: mirror.library ?? host === 'registry-1.docker.io',
      revalidateMs: (mirror.revalidate ?? 300) * 1000,
    };
  });
  const whole = mirrored(registry, {
    mirrors,
    sparse: createSparse(),
    spoolFolder: join(cacheDir, 'mirror'),
    log,
    ...(metrics === undefined ? {} : { observer: mirrorObserver(metrics) }),
  });
  return {
    registry: whole,
    async close() {
      await whole.close();
      for (const client of clients) client.close();
    },
  };
}

function clientOptions(mirror: MirrorConfig): { host: string; options: RegistryClientOptions } {
  const url = parseUpstream(mirror.upstream);
  if (url === undefined) throw new UserError(`${mirror.prefix} has no upstream`);
  const known = knownRealmHosts[url.host];
  const { username, password, passwordFile } = mirror;
  const secret = passwordFile === undefined ? password : read(mirror, passwordFile).replace(/\r?\n$/, '');
  return {
    host: url.host,
    options: {
      url: url.origin,
      ...(username === undefined || secret === undefined
        ? {}
        : { credentials: { username, password: secret } }),
      ...(mirror.ca === undefined ? {} : { ca: read(mirror, mirror.ca) }),
      timeoutMs,
      maxSockets: 64,
      outbound: {
        realmHosts: [...(known === undefined ? [] : [known]), ...(mirror.authRealmHosts ?? [])],
        redirectHosts: mirror.redirectHosts ?? [],
      },
    },
  };
}

function read(mirror: MirrorConfig, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new UserError(`the mirror ${mirror.prefix} cannot read ${path}: ${(cause as Error).message}`, {
      exitCode: 2,
      cause,
    });
  }
}
