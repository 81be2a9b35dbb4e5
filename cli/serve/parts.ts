import { join } from 'node:path';
import type { BuilderDeps } from '../../builder/main.ts';
import { type Accounts, createAccounts } from '../../core/auth/accounts.ts';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import { type Authorizer, openAuthorizer } from '../../core/auth/authorizer.ts';
import { createOpenAuthenticator } from '../../core/auth/create-authenticator.ts';
import { createLogger, type Logger } from '../../core/log.ts';
import type { Metrics } from '../../core/metrics.ts';
import type { Registry } from '../../oci/registry.ts';
import { createPromotionPolicy, type PromotionPolicy } from '../../registry/promote/promotion-policy.ts';
import { createStoredRegistry } from '../../registry/stored-registry.ts';
import { type Config, readConfig, serviceName } from '../config.ts';
import type { ServeOptions } from './messages.ts';
import { openMirrors } from './mirrors.ts';
import { openStore, type ServerStore } from './open-store.ts';
import { storeObserver } from './store-metrics.ts';
import { openTriggers } from './triggers.ts';

/** What every process of a server has: all of them read the same configuration and open the same store. */
export interface Parts {
  readonly config: Config;
  readonly log: Logger;
  readonly store: ServerStore;
  /** Undefined in open mode. */
  readonly accounts: Accounts | undefined;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  /** With the mirrored repositories; without any check of rights: only for the program's own work. */
  readonly registry: Registry;
  /** Which tags are set by promotions alone. */
  readonly promotion: PromotionPolicy;
  /** Rebuildable things on this machine's disk: bare repositories, downloads. */
  readonly cacheDir: string;
  close(): Promise<void>;
}

/** `metrics`: where requests to the store are counted. Errors: UserError (configuration, data folder, htpasswd file). */
export async function createParts(options: ServeOptions, metrics?: Metrics): Promise<Parts> {
  const config = readConfig({
    ...(options.configFile === undefined ? {} : { file: options.configFile }),
    env: process.env,
    cwd: process.cwd(),
  });
  const log = createLogger({ level: config.log.level });
  const store = openStore(config, metrics === undefined ? {} : { onRequest: storeObserver(metrics) });
  const cacheDir = join(config.data, 'cache');
  const storedRegistry = (options: { allowMissingBlobs: boolean; manifestCacheBytes?: number }): Registry =>
    createStoredRegistry({ store, hintUntagged: config.collection.untagged.enabled, ...options });
  const { allowMissingBlobs } = config.registry;
  const mirrors = openMirrors({
    config,
    registry: storedRegistry({ allowMissingBlobs }),
    // What it writes is read through the other one, so it needs no cache to speak of.
    createSparse: () => storedRegistry({ allowMissingBlobs: true, manifestCacheBytes: 1024 * 1024 }),
    cacheDir,
    log,
    metrics,
  });
  const { htpasswd, rules, tokens } = config.auth;
  const accounts =
    htpasswd === undefined
      ? undefined
      : await createAccounts({
          htpasswd,
          rules,
          store,
          service: serviceName(config),
          algorithm: tokens.algorithm,
          ttl: tokens.ttl,
          refreshTtl: tokens.refreshTtl,
          warn: (fields, message) => log.warn(fields, message),
        });
  return {
    config,
    log,
    store,
    accounts,
    authenticator: accounts?.authenticator ?? createOpenAuthenticator(),
    authorizer: accounts?.authorizer ?? openAuthorizer,
    registry: mirrors.registry,
    promotion: createPromotionPolicy(config.registry.promotion),
    cacheDir,
    async close() {
      await mirrors.close();
      await accounts?.close();
      store.close();
    },
  };
}

/** What the builder needs beside an event bus. Errors: UserError for a file of a trigger that cannot be read. */
export function builderDeps(parts: Parts): Omit<BuilderDeps, 'events'> {
  const { store, registry, authorizer, log, cacheDir, config, promotion } = parts;
  return {
    store,
    registry,
    authorizer,
    log,
    cacheDir: join(cacheDir, 'git'),
    ...(config.publicUrl === undefined ? {} : { publicUrl: config.publicUrl }),
    packageLimits: config.builder.packages,
    propagation: config.builder.propagation,
    retention: config.builder.retention,
    dependencyCache: config.builder.cache,
    dispatch: config.builder,
    ...(config.builder.secrets.key === undefined ? {} : { secretsKey: config.builder.secrets.key }),
    protection: promotion,
    triggers: openTriggers(config),
    ...(config.builder.defaultBase === undefined ? {} : { defaultBase: config.builder.defaultBase }),
  };
}
