import { checkFront, type FrontBytes, type FrontModel } from '../cache-proxy/nginx/front-model.ts';
import { UserError } from '../core/user-error.ts';
import type { Config } from './config.ts';
import { objectsFolder } from './serve/blob-hand-over.ts';

/** What `store.s3` says of where the store is. */
export interface StorePlace {
  readonly endpoint?: string | undefined;
  readonly publicEndpoint?: string | undefined;
  readonly region?: string | undefined;
  readonly bucket?: string | undefined;
  readonly forcePathStyle?: boolean | undefined;
}

/** The nginx in front that `front:` describes. Errors: UserError that names every key in fault. */
export function frontOfConfig(config: Config): FrontModel {
  const { front, registry } = config;
  const { certificate, key } = front.tls;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new UserError('front.tls: certificate and key are given together or not at all', { exitCode: 2 });
  }
  const host = config.publicUrl === undefined ? undefined : new URL(config.publicUrl).hostname;
  return checkFront({
    folder: front.folder,
    ...(front.user === undefined ? {} : { user: front.user }),
    listen: front.listen,
    serverName: front.serverName ?? (host === undefined || host.startsWith('[') ? '_' : host),
    ...(certificate === undefined || key === undefined ? {} : { tls: { certificate, key } }),
    allowPlain: front.allowPlain,
    replicas: front.replicas.length === 0 ? [config.listen] : front.replicas,
    prefix: registry.accel.prefix,
    bytes: bytesOf(config),
  });
}

/** What else must be set so that the replicas let this nginx send blobs; empty when all is well. */
export function frontHints(config: Config, model: FrontModel): string[] {
  if (model.bytes.kind === 'none') return [];
  return [
    ...(config.registry.accel.mode === 'on'
      ? []
      : ['registry.accel.mode is off: blobs pass through the replicas until it is on']),
    ...(config.trustedProxies.length > 0
      ? []
      : [
          'trustedProxies is empty: replicas do not believe this nginx; name its address there (127.0.0.1 on the same machine)',
        ]),
  ];
}

function bytesOf(config: Config): FrontBytes {
  const { front } = config;
  const storeType: string = config.store.type;
  const kind = front.bytes === 'auto' ? (storeType === 's3' ? 's3' : 'files') : front.bytes;
  if (kind === 'none') return { kind };
  if (kind === 'files') return { kind, folder: objectsFolder(config) };
  const { store, cache } = front;
  return {
    kind,
    store: store.url ?? originOfStore((config.store.s3 as StorePlace | undefined) ?? {}),
    ...(store.ca === undefined ? {} : { ca: store.ca }),
    ...(store.resolver.length === 0 ? {} : { resolver: store.resolver }),
    ...(cache.folder === undefined ? {} : { cache: { ...cache, folder: cache.folder } }),
  };
}

/**
 * Scheme and host of the presigned addresses of an S3 store: the bucket stands in the path (`forcePathStyle`) or before the host.
 * Errors: UserError when it cannot be told.
 */
export function originOfStore(place: StorePlace): string {
  const { bucket, region, forcePathStyle = false } = place;
  const endpoint =
    place.publicEndpoint ??
    place.endpoint ??
    (region === undefined ? undefined : `https://s3.${region}.amazonaws.com`);
  if (endpoint === undefined || !URL.canParse(endpoint) || (bucket === undefined && !forcePathStyle)) {
    throw new UserError('front.store.url: name the scheme and host of the store’s presigned addresses', {
      exitCode: 2,
    });
  }
  const url = new URL(endpoint);
  return forcePathStyle ? url.origin : `${url.protocol}//${bucket}.${url.host}`;
}
