import type { JsonSchema } from '../../core/document/check-schema.ts';

const text = { type: 'string', minLength: 1, maxLength: 4096 } as const;

const poolName = {
  type: 'string',
  maxLength: 63,
  pattern: '^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$',
  'x-message': 'must be lower-case letters, digits and "-", such as rack-4',
} as const;

const size = (description: string) =>
  ({
    type: 'string',
    pattern: '^[1-9][0-9]{0,6}[kmgt]$',
    'x-message': 'must be a size with k, m, g or t, such as 8m or 2000g',
    description,
  }) as const;

const time = (description: string) =>
  ({
    type: 'string',
    pattern: '^[1-9][0-9]{0,5}[smhd]$',
    'x-message': 'must be a time with s, m, h or d, such as 90s, 24h or 60d',
    description,
  }) as const;

const rate = (description: string) =>
  ({ type: 'number', exclusiveMinimum: 0, maximum: 1_000_000, description }) as const;

const patterns = (description: string) =>
  ({ type: 'array', maxItems: 1000, items: { ...text, maxLength: 400 }, description }) as const;

const credential = {
  type: 'string',
  maxLength: 4096,
  pattern: '^(?:file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$',
  'x-message': 'must be file:PATH or env:NAME, which hold user:password; the secret itself never stands here',
  description:
    'The pool’s own read-only account there, as `file:PATH` (a file of one line `user:password` that only its owner may read) or `env:NAME`. Default: it asks as anonymous.',
} as const;

const certificates = {
  ...text,
  description: 'File of certificates (PEM) that the server’s own is checked with. Default: the system’s.',
} as const;

const address = (description: string) => ({ ...text, maxLength: 300, description }) as const;

const pool = {
  type: 'object',
  required: ['name', 'origin'],
  additionalProperties: false,
  properties: {
    name: { ...poolName, description: 'Unique in the file: `rack-4`, `dc-hangzhou-1`.' },
    endpoint: address(
      'Where nodes reach the proxy: scheme and host, what stands in front of an image’s name. Default: what `listen` says, where that is one address.',
    ),
    listen: address(
      'IP address and port that the proxy listens on: `0.0.0.0:443`. Default: the port of `endpoint`, on its address or on all.',
    ),
    tls: {
      type: 'object',
      required: ['cert', 'key'],
      additionalProperties: false,
      description: 'Default: plain HTTP, which only loopback may without `allowPlain`.',
      properties: {
        cert: { ...text, description: 'File of the certificate and its chain (PEM).' },
        key: { ...text, description: 'File of the certificate’s key (PEM).' },
      },
    },
    allowPlain: {
      type: 'boolean',
      description:
        'Plain HTTP also where other machines reach it, because the network is trusted or something in front speaks TLS. Default: false.',
    },
    folder: {
      ...text,
      description:
        'The proxy’s folder: configuration, logs, remembered grants, the cache. A relative path starts at this file. Default: pools/NAME.',
    },
    agent: {
      type: 'object',
      additionalProperties: false,
      description: 'The process beside the proxy.',
      properties: {
        listen: address('Where its metrics, health and commands answer. Default: 127.0.0.1:5095.'),
      },
    },
    engine: {
      enum: ['nginx', 'embedded'],
      description:
        'What carries the bytes: `nginx`, which must be installed, or `embedded`, which is part of this program. Default: nginx.',
    },
    origin: {
      type: 'object',
      required: ['urls'],
      additionalProperties: false,
      description: 'The registry that the pool is in front of.',
      properties: {
        urls: {
          type: 'array',
          minItems: 1,
          maxItems: 16,
          uniqueItems: true,
          items: { ...text, maxLength: 300 },
          description:
            'Its replicas: scheme and host of each. The next one is asked when one does not answer.',
        },
        names: {
          type: 'array',
          maxItems: 32,
          uniqueItems: true,
          items: { ...text, maxLength: 300 },
          description:
            'Other names that its images are called by, `host[:port]`. Default: those of `urls` and `endpoint`.',
        },
        ca: certificates,
        credential,
      },
    },
    parents: {
      type: 'array',
      maxItems: 8,
      uniqueItems: true,
      items: poolName,
      description:
        'Pools of this file that are asked before the origin for what they have, in this order. Default: none.',
    },
    siblings: {
      type: 'array',
      maxItems: 8,
      uniqueItems: true,
      items: poolName,
      description:
        'As `parents`, and asked before them; two pools may be each other’s siblings. Default: none.',
    },
    shards: {
      type: 'array',
      minItems: 2,
      maxItems: 32,
      uniqueItems: true,
      items: { ...text, maxLength: 300 },
      description:
        'Scheme and host of every proxy of this pool, this one included: each keeps its share of the layers. Default: one proxy.',
    },
    cache: {
      type: 'object',
      additionalProperties: false,
      description: 'What is kept on disk.',
      properties: {
        dir: { ...text, description: 'Folder of the cache. Default: cache in `folder`.' },
        maxSize: size('How much it keeps; what was not asked for longest goes first. Default: 50g.'),
        minFree: size('How much of the disk it leaves free. Default: 2g.'),
        inactive: time('What nobody asked for so long goes. Default: 60d.'),
        slice: size(
          'Layers are fetched and kept in pieces of so much: 64k to 256m. Default: 8m, less on a slow link (2m at 100 Mbit/s).',
        ),
      },
    },
    link: {
      type: 'object',
      additionalProperties: false,
      description: 'The line to the origin, in megabits per second.',
      properties: {
        downMbps: rate('What it carries. Default: 1000.'),
        prewarmMbps: rate(
          'What prewarming may take within the window, or always without one. Default: a fifth of downMbps.',
        ),
        prewarmWindow: {
          type: 'string',
          pattern: '^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$',
          'x-message': 'must be two times of day, such as "00:00-07:00"',
          description: 'Local time of day of most of the prewarming. Default: none.',
        },
        prewarmDayMbps: rate('What it may take outside of the window. Default: a twentieth of downMbps.'),
      },
    },
    nodes: {
      type: 'object',
      additionalProperties: false,
      description: 'Who pulls through the pool.',
      properties: {
        cidrs: {
          type: 'array',
          maxItems: 256,
          items: { ...text, maxLength: 64 },
          description: 'Networks that may reach the proxy: `10.8.0.0/16`. Default: every one.',
        },
      },
    },
    auth: {
      type: 'object',
      additionalProperties: false,
      description: 'Who may have what. The origin decides; the pool asks it, and remembers.',
      properties: {
        mode: {
          enum: ['token', 'open'],
          description:
            '`token`: as the origin says of each user. `open`: the origin has no accounts, so everybody may pull what it gives the pool. Default: token.',
        },
        offlineGrace: time(
          'For so long after their last grant users go on pulling while the origin is away. Default: 24h.',
        ),
        anonymousRepos: patterns('Repositories that anybody may pull: `public/**`. Default: none.'),
      },
    },
    upstreams: {
      type: 'array',
      maxItems: 32,
      description: 'Other registries, for nodes that name them (containerd does, as `?ns=`). Default: none.',
      items: {
        type: 'object',
        required: ['ns', 'url'],
        additionalProperties: false,
        properties: {
          ns: address('The registry’s name in images: `docker.io`.'),
          url: {
            type: ['string', 'array'],
            minLength: 1,
            maxLength: 300,
            minItems: 1,
            maxItems: 16,
            uniqueItems: true,
            items: { ...text, maxLength: 300 },
            description: 'Scheme and host, or a list of them.',
          },
          ca: certificates,
          credential,
          allow: patterns('Repositories that may be pulled: `library/**`. Default: all.'),
          deny: patterns('Repositories that may not, whatever `allow` says. Default: none.'),
        },
      },
    },
    prewarm: {
      type: 'object',
      additionalProperties: false,
      description: 'What is fetched before a node asks.',
      properties: {
        always: patterns('Base images that are always kept: `base/**`, `base/jdk:17`. Default: none.'),
        follow: patterns('Images whose pushes are fetched at once: `team-a/api:*`. Default: none.'),
        topBytes: size('How much is kept warm by what was pulled most. Default: none.'),
        halfLife: time('After so long a pull counts half. Default: 3d.'),
        maxLayer: size('Larger layers are left to the nodes. Default: 10g.'),
      },
    },
    onOriginMissing: {
      enum: ['keep', 'drop'],
      description:
        'What becomes of a cached tag that the origin has no longer: still served (`keep`), or gone here, too. Default: keep.',
    },
    p2p: {
      type: 'object',
      additionalProperties: false,
      description: 'Nodes that give each other layers, with the pool as their source.',
      properties: {
        engine: { enum: ['none', 'dragonfly', 'spegel'], description: 'Default: none.' },
      },
    },
  },
} as const;

/**
 * pools.yaml as a JSON Schema 2020-12; the published file docs/schema/pools.v1.json is this object. What a schema cannot say (names
 * that stand twice, plain HTTP towards other machines …) is in `check-pools.ts`.
 */
export const poolsSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'urn:brickyard:schema:pools.v1',
  title: 'Brickyard pools.yaml v1',
  description: 'The caching proxies of a company, one for each group of nodes behind a slow or costly link.',
  type: 'object',
  required: ['pools'],
  additionalProperties: false,
  patternProperties: { '^x-': { description: 'Ignored: notes and anchors of your own.' } },
  properties: {
    pools: {
      type: 'array',
      minItems: 1,
      maxItems: 500,
      items: pool,
      description: 'Each proxy reads its own part, by name.',
    },
  },
} as const satisfies JsonSchema;

/** What the file holds once it fits the schema. */
export interface PoolEntry {
  readonly name: string;
  readonly endpoint?: string;
  readonly listen?: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly allowPlain?: boolean;
  readonly folder?: string;
  readonly agent?: { readonly listen?: string };
  readonly engine?: 'nginx' | 'embedded';
  readonly origin: {
    readonly urls: readonly string[];
    readonly names?: readonly string[];
    readonly ca?: string;
    readonly credential?: string;
  };
  readonly parents?: readonly string[];
  readonly siblings?: readonly string[];
  readonly shards?: readonly string[];
  readonly cache?: Partial<Record<'dir' | 'maxSize' | 'minFree' | 'inactive' | 'slice', string>>;
  readonly link?: {
    readonly downMbps?: number;
    readonly prewarmMbps?: number;
    readonly prewarmWindow?: string;
    readonly prewarmDayMbps?: number;
  };
  readonly nodes?: { readonly cidrs?: readonly string[] };
  readonly auth?: {
    readonly mode?: 'token' | 'open';
    readonly offlineGrace?: string;
    readonly anonymousRepos?: readonly string[];
  };
  readonly upstreams?: readonly UpstreamEntry[];
  readonly prewarm?: {
    readonly always?: readonly string[];
    readonly follow?: readonly string[];
    readonly topBytes?: string;
    readonly halfLife?: string;
    readonly maxLayer?: string;
  };
  readonly onOriginMissing?: 'keep' | 'drop';
  readonly p2p?: { readonly engine?: 'none' | 'dragonfly' | 'spegel' };
}

export interface UpstreamEntry {
  readonly ns: string;
  readonly url: string | readonly string[];
  readonly ca?: string;
  readonly credential?: string;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}
