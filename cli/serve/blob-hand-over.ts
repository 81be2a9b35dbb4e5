import type { IncomingMessage } from 'node:http';
import { join, relative } from 'node:path';
import type { Principal } from '../../core/auth/authorizer.ts';
import type { ClientOrigin } from '../../core/http/client-origin.ts';
import type { Logger } from '../../core/log.ts';
import type { Metrics } from '../../core/metrics.ts';
import type { FilesystemStore } from '../../core/object-store/filesystem.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createHandOver, type HandOver, type HandOverOptions } from '../../registry/http/hand-over.ts';
import { internalFileUri, internalStoreUri } from '../../registry/http/internal-uri.ts';
import { createRedirectPolicy } from '../../registry/http/redirect-policy.ts';
import type { Config } from '../config.ts';

/** Who else may send blobs, by `registry.redirect` and `registry.accel`. Undefined: nobody. `isPool`: requests that are never redirected. */
export function createBlobHandOver(deps: {
  readonly config: Config;
  readonly store: ObjectStore;
  readonly origin: ClientOrigin;
  readonly metrics: Metrics;
  readonly log: Pick<Logger, 'warn'>;
  readonly isPool: (request: IncomingMessage, principal: Principal) => boolean;
}): HandOver | undefined {
  const { config, store, origin, metrics, log, isPool } = deps;
  const { redirect, accel } = config.registry;
  if (redirect.mode === 'on' && hasFiles(store)) {
    log.warn({}, 'registry.redirect is on, but files have no addresses: blobs are served from here');
  }
  if (accel.mode === 'on' && config.trustedProxies.length === 0) {
    log.warn({}, 'registry.accel is on, but no proxy is trusted: blobs are served from here');
  }
  if (redirect.mode === 'off' && accel.mode === 'off') return undefined;
  const counter = metrics.counter(
    'registry_blobs_handed_over_total',
    'Blobs whose bytes somebody else sends: the object store after a redirect, or the web server in front.',
    ['to'],
  );
  return createHandOver({
    origin,
    ...(redirect.mode === 'on'
      ? { redirect: { policy: createRedirectPolicy(redirect), ttl: redirect.ttl, exempt: isPool } }
      : {}),
    ...(accel.mode === 'on' ? { front: createFront(config, store) } : {}),
    onHandOver: (to) => counter.inc({ to }),
  });
}

/** The folder of all objects of the filesystem store. */
export function objectsFolder(config: Config): string {
  return join(config.data, 'store', 'objects');
}

function createFront(config: Config, store: ObjectStore): NonNullable<HandOverOptions['front']> {
  const { prefix, ttl } = config.registry.accel;
  if (hasFiles(store)) {
    const folder = objectsFolder(config);
    return {
      announces: 'files',
      internalUri: async ({ dataKey }) =>
        dataKey === undefined ? undefined : internalFileUri(prefix, relative(folder, store.pathOf(dataKey))),
    };
  }
  return {
    announces: 's3',
    async internalUri(blob) {
      const address = await blob.address({ method: 'GET', expiresInSeconds: ttl });
      return address === undefined ? undefined : internalStoreUri(prefix, address);
    },
  };
}

function hasFiles(store: ObjectStore): store is FilesystemStore {
  return 'pathOf' in store;
}
