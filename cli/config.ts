import { isIP } from 'node:net';
import type { Static } from 'typebox';
import { nginxValues } from '../cache-proxy/nginx/grammar.ts';
import { checkAccessRules } from '../core/auth/access-rules.ts';
import { type DeepReadonly, loadConfig } from '../core/config/load-config.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { UserError } from '../core/user-error.ts';
import { builderSchema } from './builder-config.ts';
import { collectionSchema } from './collection-config.ts';
import { fault, fitsNginx } from './config-checks.ts';
import { frontSchema } from './front-config.ts';
import { formatListenAddress, isLoopback, type ListenAddress, parseListenAddress } from './listen-address.ts';
import { mirrorsSchema } from './mirror-config.ts';
import { promotionSchema } from './promotion-config.ts';
import { redisSchema } from './redis-config.ts';
import { storeSchema } from './store-config.ts';

/** Variables with our prefix that are read elsewhere: by commands that talk to a server, and by tests. */
const otherVariables = ['BRICKYARD_SERVER', 'BRICKYARD_CONFIG', 'BRICKYARD_CREDENTIALS'];

/**
 * What `brickyard.yaml` may say, in this order in docs/configuration.md. `description` says meaning and unit; a key without
 * `default` is off or found out by itself.
 */
export const configSchema = Type.Object({
  /** Where the one HTTP listener listens. */
  listen: Type.String({
    default: '127.0.0.1:5000',
    description: 'Address and port of the HTTP listener: `127.0.0.1:5000`, `[::1]:5000`, `0.0.0.0:5000`.',
    'x-check': (value: string) =>
      parseListenAddress(value) === undefined
        ? fault('must be an address and a port, e.g. 127.0.0.1:5000 or [::1]:5000', portHint(value))
        : [],
  }),
  /** What clients call this service; also decides realm, Location and the service name of tokens. */
  publicUrl: Type.Optional(
    Type.String({
      description:
        'Address that clients use, e.g. `https://registry.example.com`; without it, each request’s own Host.',
      'x-check': checkPublicUrl,
    }),
  ),
  /** Whose `X-Forwarded-*` headers are believed. */
  trustedProxies: Type.Array(Type.String(), {
    default: [],
    description:
      'Addresses or networks of balancers whose X-Forwarded-For/-Proto/-Host are believed: `10.0.0.0/8`.',
    'x-check': checkNetworks,
  }),
  /** Folder for everything durable; also for the caches that can be rebuilt. */
  data: Type.String({
    default: './data',
    minLength: 1,
    description: 'Folder for everything durable.',
    'x-path': true,
  }),
  /** HTTP processes. */
  processes: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 256,
    description: 'Number of HTTP processes; 0 = one for each core.',
  }),
  /** How a server leaves: first the balancer turns away, then what is under way ends. */
  shutdown: Type.Object({
    notReadySeconds: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 600,
      description:
        'Seconds after SIGTERM in which /readyz says 503 and requests are still taken: time for a balancer to notice.',
    }),
    drainSeconds: Type.Integer({
      default: 10,
      minimum: 0,
      maximum: 86_400,
      description:
        'Seconds that requests under way may go on after that; what is left is cut off and can be resumed.',
    }),
  }),
  /** Where everything durable is kept. */
  store: storeSchema,
  registry: Type.Object({
    /** Sparse images: the specification lets a registry refuse them. */
    allowMissingBlobs: Type.Boolean({
      default: false,
      description:
        'Accept manifests whose layers or config are not in the repository, instead of MANIFEST_BLOB_UNKNOWN.',
    }),
    /** Clients fetch blobs from the object store itself; only where that store gives out addresses (S3). */
    redirect: Type.Object({
      mode: Type.Enum(['off', 'on'], {
        default: 'off',
        description:
          '`on`: clients are sent to presigned addresses of the S3 store for blobs (307), as far as the keys below say.',
      }),
      networks: Type.Array(Type.String(), {
        default: [],
        description: 'Only clients in these addresses or networks are redirected; default: all.',
        'x-check': checkNetworks,
      }),
      exceptNetworks: Type.Array(Type.String(), {
        default: [],
        description: 'Clients that cannot reach the store: they are never redirected.',
        'x-check': checkNetworks,
      }),
      minSize: Type.Integer({
        default: 0,
        minimum: 0,
        description: 'Bytes; smaller blobs are served here. Up to 8 KiB they are in any case.',
      }),
      head: Type.Boolean({ default: true, description: 'Redirect HEAD as well.' }),
      ttl: Type.Integer({
        default: 1200,
        minimum: 60,
        maximum: 604_800,
        description:
          'Seconds that such an address stays good. Garbage collection leaves bytes alone for as long.',
      }),
    }),
    /** The web server in front sends blobs. */
    accel: Type.Object({
      mode: Type.Enum(['off', 'on'], {
        default: 'off',
        description:
          '`on`: an nginx made by `brickyard front render`, coming from one of `trustedProxies`, sends blobs itself.',
      }),
      prefix: Type.String({
        default: '/_bytes/',
        description: 'Where its internal addresses begin.',
        'x-check': fitsNginx(nginxValues.prefix),
      }),
      ttl: Type.Integer({
        default: 21_600,
        minimum: 60,
        maximum: 604_800,
        description:
          'S3: seconds that the web server may take for one blob. Garbage collection leaves bytes alone for as long.',
      }),
    }),
    /** Against floods of upload sessions. */
    maxUploads: Type.Integer({
      default: 1000,
      minimum: 0,
      maximum: 1_000_000,
      description: 'Unfinished upload sessions of one account (or of everybody without one); 0 = no limit.',
    }),
    /** Caching proxies that pull from here. */
    pools: Type.Object({
      accounts: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        default: [],
        description:
          'Accounts that pools fetch with: they are never redirected, and may ask /api/v1/pools what a pool must know.',
      }),
      egressMbps: Type.Integer({
        default: 0,
        minimum: 0,
        maximum: 10_000_000,
        description:
          'Mbit/s that all pools together may prewarm with; each has its part of it. 0 = no limit.',
      }),
    }),
    /** Which tags take tested images only. */
    promotion: promotionSchema,
  }),
  /** Space of images that were deleted. */
  collection: collectionSchema,
  /** Pull-through of other registries. */
  mirrors: mirrorsSchema,
  /** The nginx in front of the replicas. */
  front: frontSchema,
  /** Faster hand-over of builds and live logs between machines. */
  redis: redisSchema,
  auth: Type.Object({
    /** Accounts. Setting it switches authentication on. */
    htpasswd: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'File of accounts, written by `brickyard user add` or `htpasswd -B`. Setting it switches authentication on.',
        'x-path': true,
      }),
    ),
    /** Who may do what; without rules an account may do everything, and anybody else nothing. */
    rules: Type.Array(
      Type.Object(
        {
          repositories: Type.Unsafe<string | string[]>({
            type: ['string', 'array'],
            items: { type: 'string' },
            minItems: 1,
          }),
          users: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
          actions: Type.Array(Type.Enum(['pull', 'push', 'delete', 'build', 'admin']), { minItems: 1 }),
        },
        { additionalProperties: false },
      ),
      {
        default: [],
        description: 'Who may do what where; see docs/accounts.md. As a variable: JSON.',
        'x-check': checkAccessRules,
      },
    ),
    tokens: Type.Object({
      ttl: Type.Integer({
        default: 900,
        minimum: 60,
        maximum: 86_400,
        description: 'Seconds a token of `/token` lives.',
      }),
      refreshTtl: Type.Integer({
        default: 2_592_000,
        minimum: 0,
        maximum: 31_536_000,
        description:
          'Seconds a refresh token (kept by `docker login` instead of the password) lives; 0 = none are given.',
      }),
      algorithm: Type.Enum(['EdDSA', 'ES256'], {
        default: 'EdDSA',
        description: 'Signature of tokens: `EdDSA` (Ed25519) or `ES256`.',
      }),
    }),
  }),
  /** What builds images. */
  builder: builderSchema,
  log: Type.Object({
    level: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      default: 'info',
      description: 'Least severe lines that are logged.',
    }),
    access: Type.Boolean({
      default: false,
      description:
        'One line for each HTTP request, with the bytes sent for images; costs a good part of the speed of small requests.',
    }),
  }),
});

export type Config = DeepReadonly<Static<typeof configSchema>>;

export interface ReadConfigOptions {
  /** `--config`; default `brickyard.yaml` in `cwd`, which may be missing. */
  readonly file?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** Errors: UserError with all faults. */
export function readConfig({ file, env, cwd }: ReadConfigOptions): Config {
  const named = file ?? (env['BRICKYARD_CONFIG'] || undefined);
  return loadConfig({
    schema: configSchema,
    file: { path: named ?? 'brickyard.yaml', required: named !== undefined },
    env,
    prefix: 'BRICKYARD_',
    otherVariables,
    cwd,
  });
}

/**
 * The address to listen on. Nobody who can reach it may find a registry without a lock by mistake.
 * Errors: UserError when it is reachable from other machines, no accounts are configured, and nobody said `--insecure-open`.
 */
export function checkListenAddress(
  config: Config,
  { insecureOpen }: { insecureOpen: boolean },
): ListenAddress {
  const address = parseListenAddress(config.listen);
  if (address === undefined) throw new UserError(`cannot listen on ${config.listen}`, { exitCode: 2 });
  if (isLoopback(address.host) || insecureOpen || config.auth.htpasswd !== undefined) return address;
  throw new UserError(
    `it would listen on ${formatListenAddress(address)}, where other machines may reach it, and nobody would have to sign in. Either\n` +
      '  - create an account (brickyard user add NAME) and set auth.htpasswd (BRICKYARD_AUTH_HTPASSWD), or\n' +
      '  - say --insecure-open when everybody who reaches it may read, replace and delete every image.',
    { exitCode: 2 },
  );
}

/** The `service` of challenges and audience of tokens. */
export function serviceName(config: Config): string {
  return config.publicUrl === undefined ? 'brickyard' : new URL(config.publicUrl).host;
}

/** Where the data is, for people. */
export function storeName({ store: { type, s3 }, data }: Config): string {
  return type === 's3' ? `s3://${s3.bucket ?? ''}/${s3.prefix}` : data;
}

function portHint(value: string): string | undefined {
  const port = /^:?(\d+)$/.exec(value)?.[1];
  return port === undefined ? undefined : `write 127.0.0.1:${port}`;
}

function checkPublicUrl(value: string): ValueFault[] {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return fault('must be an address such as https://registry.example.com');
  }
  if (url.username !== '' || url.password !== '') return fault('must hold no user name or password');
  // Docker takes the registry to be at the root of its host (distribution-spec: /v2/).
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return fault('must have no path behind the host');
  return [];
}

function checkNetworks(value: string[]): ValueFault[] {
  return value.flatMap((entry, index) =>
    isNetwork(entry) ? [] : [{ path: [index], message: `"${entry}" is no IP address or network` }],
  );
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32));
}
