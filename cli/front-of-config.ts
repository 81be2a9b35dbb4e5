import { checkFront, type FrontBytes, type FrontModel } from '../cache-proxy/nginx/front-model.ts';
import { UserError } from '../core/user-error.ts';
import type { Config } from './config.ts';
import { objectsFolder } from './serve/blob-hand-over.ts';

type StorePlace = Partial<
  Pick<Config['store']['s3'], 'endpoint' | 'publicEndpoint' | 'region' | 'bucket' | 'forcePathStyle'>
>;

/**
 * The nginx in front that `front:` describes. `env`: where a region may stand that the configuration does not name.
 * Errors: UserError that names every key in fault.
 */
export function frontOfConfig(
  config: Config,
  env: Readonly<Record<string, string | undefined>> = {},
): FrontModel {
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
    replicas: front.replicas.length === 0 ? [ownAddress(config.listen)] : front.replicas,
    prefix: registry.accel.prefix,
    bytes: bytesOf(config, env),
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
    ...(model.bytes.kind === 's3' && /[!*'()]/.test(config.store.s3.prefix)
      ? [
          "store.s3.prefix holds one of !*'(): nginx would write such paths anew, so blobs pass through the replicas",
        ]
      : []),
  ];
}

/** Where this machine reaches a listener. */
function ownAddress(listen: string): string {
  return listen.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}

function bytesOf(config: Config, env: Readonly<Record<string, string | undefined>>): FrontBytes {
  const { front } = config;
  const { type, s3 } = config.store;
  const kind = front.bytes === 'auto' ? (type === 's3' ? 's3' : 'files') : front.bytes;
  if (kind === 'none') return { kind };
  if (kind === 'files') return { kind, folder: objectsFolder(config) };
  const { store, cache } = front;
  const region = s3.region ?? (env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || undefined);
  const ca = store.ca ?? s3.caFile;
  return {
    kind,
    store: store.url ?? originOfStore({ ...s3, ...(region === undefined ? {} : { region }) }),
    ...(ca === undefined ? {} : { ca }),
    ...(store.resolver.length === 0 ? {} : { resolver: store.resolver }),
    ...(cache.folder === undefined ? {} : { cache: { ...cache, folder: cache.folder } }),
  };
}

/**
 * Scheme and host of an S3 store's presigned addresses: the bucket stands in the path, or before the host.
 * Errors: UserError when it cannot be told.
 */
export function originOfStore(place: StorePlace): string {
  const { bucket, region, endpoint } = place;
  const inPath = place.forcePathStyle ?? endpoint !== undefined;
  const address =
    place.publicEndpoint ??
    endpoint ??
    (region === undefined ? undefined : `https://s3.${region}.amazonaws.com`);
  if (address === undefined || (bucket === undefined && !inPath)) {
    throw new UserError(
      'front.store.url: name the scheme and host of the store’s presigned addresses, as store.s3 names neither an endpoint nor bucket and region',
      { exitCode: 2 },
    );
  }
  const url = new URL(address);
  return inPath ? url.origin : `${url.protocol}//${bucket}.${url.host}`;
}
