import type { JsonSchema } from '../../core/document/check-schema.ts';

const text = { type: 'string', minLength: 1, maxLength: 500 } as const;
const texts = { type: 'array', items: text, maxItems: 500 } as const;
const textMap = { type: 'object', additionalProperties: { type: 'string', maxLength: 4000 } } as const;
const tag = {
  type: 'string',
  pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$',
  'x-message': 'must be a tag: letters, digits, "_", "." and "-" (write numbers in quotes)',
} as const;
const reference = {
  type: 'string',
  pattern: '^[a-z][a-z0-9._-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$',
  'x-message': 'must name an entry and its channel, e.g. "base:12"',
} as const;
const integrity = {
  type: 'string',
  pattern: '^sha512-[A-Za-z0-9+/]{86}==$',
  'x-message': 'must be a checksum as npm writes it, "sha512-…"',
} as const;
// No part of it may be "..", "." or empty: it is joined to the image's root.
const plainPath = '(?!.*(?:/\\.{0,2}(?:/|$)|[\\x00-\\x1f\\x7f]))';
const absolute = {
  maxLength: 500,
  pattern: `^${plainPath}/.+$`,
  'x-message': 'must be an absolute path without "." or ".." parts and without a slash at the end',
} as const;
const inArchive = {
  maxLength: 500,
  pattern: `^(?:|\\.|(?!/|\\.{1,2}(?:/|$))${plainPath}.+)$`,
  'x-message':
    'must be a path in the archive, relative, without "." or ".." parts; "" is the whole archive, "." the file itself',
} as const;
const debianPackage = {
  type: 'string',
  pattern: '^[a-z0-9][a-z0-9+.-]+$',
  'x-message': 'must be the name of a Debian package',
} as const;
const architectures = {
  type: 'array',
  minItems: 1,
  uniqueItems: true,
  items: { type: 'string', enum: ['amd64', 'arm64'] },
} as const;
const address = {
  type: 'string',
  maxLength: 2000,
  pattern: '^https://[^/@\\s]+(?:/[^\\s]*)?$',
  'x-message': 'must be an address that begins with https:// and holds no user name or password',
} as const;
const day = {
  type: 'string',
  pattern: '^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$',
  'x-message': 'must be a day such as 2026-01-31',
} as const;

const npm = {
  type: 'array',
  maxItems: 20,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['package', 'version', 'integrity', 'files'],
    properties: {
      package: { type: ['string', 'object'], additionalProperties: text, minLength: 1 },
      version: text,
      integrity: { ...integrity, type: ['string', 'object'], additionalProperties: integrity },
      files: { type: 'object', minProperties: 1, additionalProperties: { type: 'string', ...absolute } },
      links: { ...textMap, propertyNames: absolute },
    },
  },
} as const;

const sources = {
  type: 'array',
  maxItems: 200,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name'],
    properties: {
      name: {
        type: 'string',
        pattern: '^[A-Za-z0-9][A-Za-z0-9._+-]{0,119}$',
        'x-message': 'must be a file name of letters, digits and ._+-',
      },
      maven: {
        type: 'string',
        maxLength: 300,
        pattern: '^[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[A-Za-z0-9_.+-]+(?::[A-Za-z0-9_.-]+){0,2}$',
        'x-message': 'must be group:artifact:version, perhaps with :packaging and :classifier',
      },
      npm: {
        type: 'string',
        maxLength: 300,
        pattern: '^(?:@[a-z0-9._-]+/)?[a-z0-9][a-z0-9._-]*@[0-9][A-Za-z0-9.+-]*$',
        'x-message': 'must be a package and its exact version, e.g. "left-pad@1.3.0"',
      },
      url: address,
      git: {
        type: 'object',
        additionalProperties: false,
        required: ['url', 'commit'],
        properties: {
          url: address,
          commit: {
            type: 'string',
            pattern: '^(?:[0-9a-f]{40}|[0-9a-f]{64})$',
            'x-message': 'must be the full id of a commit: 40 or 64 lower-case hex digits',
          },
        },
      },
      sha256: {
        type: 'string',
        pattern: '^[0-9a-f]{64}$',
        'x-message': 'must be the SHA-256 of the file: 64 lower-case hex digits (sha256sum prints it)',
      },
      size: { type: 'integer', minimum: 1, maximum: 4 * 1024 ** 3 },
      mirrors: { type: 'array', maxItems: 10, items: address },
      architectures,
      unpack: {
        type: 'object',
        minProperties: 1,
        maxProperties: 100,
        propertyNames: inArchive,
        additionalProperties: { type: 'string', ...absolute },
      },
      strip: { type: 'integer', minimum: 0, maximum: 20 },
      links: { ...textMap, propertyNames: absolute },
    },
  },
} as const;

/** The shape of base.yaml; what one value means for another is checked by `checkBaseFile`. */
export const baseFileSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'version', 'channels'],
  properties: {
    name: {
      type: 'string',
      pattern: '^[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*$',
      maxLength: 60,
      'x-message': 'must be lower-case letters and digits, parted by single ".", "_" or "-"',
    },
    version: tag,
    channels: { type: 'array', items: tag, minItems: 1, maxItems: 20, uniqueItems: true },
    description: text,
    owners: { ...texts, minItems: 1 },
    architectures,
    untested: text,
    parent: reference,
    debian: {
      type: 'object',
      additionalProperties: false,
      required: ['suite', 'packages'],
      properties: {
        suite: { type: 'string', enum: ['bookworm'] },
        packages: { type: 'array', minItems: 1, maxItems: 500, items: debianPackage },
        exclude: texts,
      },
    },
    image: {
      type: 'string',
      pattern: '^docker\\.io/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$',
      'x-message': 'must be an image of docker.io with its digest: "docker.io/library/debian@sha256:…"',
    },
    packages: {
      type: 'object',
      additionalProperties: false,
      required: ['apt'],
      properties: {
        apt: { type: 'array', minItems: 1, maxItems: 500, uniqueItems: true, items: debianPackage },
      },
    },
    npm,
    sources,
    environment: {
      ...textMap,
      propertyNames: {
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        'x-message': 'must be the name of a variable: letters, digits and "_"',
      },
    },
    user: {
      type: 'string',
      pattern: '^(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})(?::(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}))?$',
      'x-message': 'must be an account: a name, a number, or "uid:gid" (write numbers in quotes)',
    },
    workdir: { type: 'string', ...absolute },
    expose: {
      type: 'array',
      maxItems: 100,
      uniqueItems: true,
      items: {
        type: ['integer', 'string'],
        minimum: 1,
        maximum: 65_535,
        pattern: '^[1-9][0-9]{0,4}/(?:tcp|udp)$',
        'x-message': 'must be a port, 8080 or "53/udp"',
      },
    },
    command: texts,
    runtime: {
      type: 'object',
      additionalProperties: false,
      required: ['order'],
      properties: { order: { type: 'integer', minimum: 0, maximum: 99 } },
    },
    contract: {
      type: 'object',
      additionalProperties: false,
      required: ['abi'],
      properties: { abi: text, rebase: { type: 'string', enum: ['compatible', 'minor', 'never'] } },
    },
    deprecation: {
      type: 'object',
      additionalProperties: false,
      required: ['level'],
      properties: {
        level: { type: 'string', enum: ['warn', 'block-new', 'block'] },
        since: day,
        sunset: day,
        replacement: reference,
      },
    },
    test: {
      type: 'object',
      additionalProperties: false,
      minProperties: 1,
      properties: {
        commands: {
          type: 'array',
          minItems: 1,
          maxItems: 50,
          items: { type: 'string', minLength: 1, maxLength: 4000 },
        },
        files: {
          type: 'array',
          minItems: 1,
          maxItems: 200,
          items: { type: 'string', ...absolute },
        },
      },
    },
    timeout: {
      type: 'string',
      pattern: '^[1-9][0-9]{0,5}(?:s|m|h)$',
      'x-message': 'must be a number with s, m or h, such as 90s or 15m',
    },
  },
};
