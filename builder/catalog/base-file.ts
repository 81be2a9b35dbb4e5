import type { JsonSchema } from '../../core/document/check-schema.ts';

/** One entry of the catalog, `baseimages/<name>/base.yaml`. See `docs/base-images.md`. */
export interface BaseFile {
  readonly name: string;
  /** Goes into the immutable tag `<version>-<key8>`. */
  readonly version: string;
  /** Moving tags; the first is the one that stands for the entry. */
  readonly channels: readonly string[];
  readonly description?: string;
  /** `name:channel` of another entry. Undefined = this is the bottom. */
  readonly parent?: string;
  /** Debian packages that are laid out as a whole system; only without a parent. */
  readonly debian?: {
    readonly suite: string;
    readonly packages: readonly string[];
    /** Globs of paths that are left out; the last match counts, `!` takes back. */
    readonly exclude?: readonly string[];
  };
  readonly npm?: readonly BaseFileNpm[];
  /** An image of Docker Hub instead of packages: `docker.io/…@sha256:…`. */
  readonly image?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
  /** Where a runtime script of this entry stands in the order of all levels; the script is `runtime.sh` beside base.yaml. */
  readonly runtime?: { readonly order: number };
  readonly contract?: {
    /** Images of equal abi can stand in for one another. */
    readonly abi: string;
    readonly rebase?: 'compatible' | 'minor' | 'never';
  };
}

export interface BaseFileNpm {
  /** One name for all, or one by architecture (`amd64`, `arm64`). */
  readonly package: string | Readonly<Record<string, string>>;
  readonly version: string;
  /** `sha512-…` as npm writes it, one for all or by architecture. */
  readonly integrity: string | Readonly<Record<string, string>>;
  /** Path in the archive → absolute path in the image, files or directories. */
  readonly files: Readonly<Record<string, string>>;
  /** Symlinks: absolute path → target. */
  readonly links?: Readonly<Record<string, string>>;
}

const text = { type: 'string', minLength: 1, maxLength: 500 } as const;
const texts = { type: 'array', items: text, maxItems: 500 } as const;
const textMap = { type: 'object', additionalProperties: { type: 'string', maxLength: 4000 } } as const;
const tag = {
  type: 'string',
  pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$',
  'x-message': 'must be a tag: letters, digits, "_", "." and "-" (write numbers in quotes)',
} as const;
const integrity = {
  type: 'string',
  pattern: '^sha512-[A-Za-z0-9+/]{86}==$',
  'x-message': 'must be a checksum as npm writes it, "sha512-…"',
} as const;
const absolute = { pattern: '^/[^/]', 'x-message': 'must be an absolute path' } as const;

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
    parent: {
      type: 'string',
      pattern: '^[a-z][a-z0-9._-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$',
      'x-message': 'must name an entry and its channel, e.g. "base:12"',
    },
    debian: {
      type: 'object',
      additionalProperties: false,
      required: ['suite', 'packages'],
      properties: {
        suite: { type: 'string', enum: ['bookworm'] },
        packages: {
          type: 'array',
          minItems: 1,
          maxItems: 500,
          items: {
            type: 'string',
            pattern: '^[a-z0-9][a-z0-9+.-]+$',
            'x-message': 'must be the name of a Debian package',
          },
        },
        exclude: texts,
      },
    },
    npm: {
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
    },
    image: {
      type: 'string',
      pattern: '^docker\\.io/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$',
      'x-message': 'must be an image of docker.io with its digest: "docker.io/library/debian@sha256:…"',
    },
    environment: textMap,
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
  },
};
