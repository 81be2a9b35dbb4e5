import { catalogRepositoryFault, isCatalogRepository } from '../builder/catalog/catalog-repository.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { parseImageReference } from '../oci/reference.ts';
import { cacheSchema } from './cache-config.ts';
import { shippedWord } from './catalog-words.ts';
import { fault } from './config-checks.ts';
import { dispatchSchema } from './dispatch-config.ts';
import { propagationSchema } from './propagation-config.ts';
import { retentionSchema } from './retention-config.ts';
import { sandboxSchema } from './sandbox-config.ts';
import { secretsSchema } from './secrets-config.ts';
import { triggersSchema } from './trigger-config.ts';

/** What builds images: `builder`. */
export const builderSchema = Type.Object({
  concurrency: Type.Integer({
    default: 1,
    minimum: 1,
    maximum: 64,
    description: 'Builds at the same time.',
  }),
  /** Each build has a process of its own. */
  heap: Type.Integer({
    default: 1024,
    minimum: 128,
    maximum: 65_536,
    description: 'MiB of heap for the process of one build; a build that needs more fails alone.',
  }),
  drainSeconds: Type.Integer({
    default: 10,
    minimum: 0,
    maximum: 86_400,
    description:
      'Seconds that running builds may go on after SIGTERM; what is left is handed back and begins anew on another worker, or after the restart.',
  }),
  /** Builds begin only where there is room for them. */
  disk: Type.Object({
    low: Type.Integer({
      default: 512 * 1024 ** 2,
      minimum: 0,
      description:
        'Bytes: with less free on the disk of the caches or of the container engine, this worker clears its caches, and takes no build until there is more.',
    }),
    high: Type.Integer({
      default: 2 * 1024 ** 3,
      minimum: 0,
      description: 'Bytes: caches are cleared, the longest unused first, until so much is free.',
    }),
  }),
  engine: Type.String({
    default: 'auto',
    description:
      'Container engine for `build:` commands: `auto` (Docker’s or Podman’s socket where one answers), `none`, or a socket’s path.',
    'x-check': (value: string) =>
      value === 'auto' || value === 'none' || value.startsWith('/')
        ? []
        : fault('must be auto, none or the absolute path of a socket'),
  }),
  /** What commands of App.yaml may use. */
  sandbox: sandboxSchema,
  defaultBase: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'Base image of an App.yaml that names none, e.g. `base:12`; without it that is an error.',
      'x-check': (value: string) =>
        parseImageReference(value) === undefined
          ? fault('must be the name of a base image, e.g. base:12 or nodejs:26')
          : [],
    }),
  ),
  packages: Type.Object({
    maxBytes: Type.Integer({
      default: 2 * 1024 ** 3,
      minimum: 1024,
      description: 'Bytes; larger release packages are refused.',
    }),
    maxUnpackedBytes: Type.Integer({
      default: 8 * 1024 ** 3,
      minimum: 1024,
      description: 'Bytes of all files of a release package together.',
    }),
  }),
  /** Base images: of several catalogs a later one's entries stand in for those of the earlier ones. */
  catalog: Type.Array(Type.String({ minLength: 1 }), {
    default: [shippedWord],
    minItems: 1,
    maxItems: 20,
    description:
      'Catalogs of base images, a later one over the earlier: `shipped` (those of the program), folders, and git repositories (`https://…#REF`).',
    'x-path': (text: string) => text !== shippedWord && !isCatalogRepository(text),
    'x-check': checkCatalogs,
  }),
  /** How a changed base image reaches the apps on it. */
  propagation: propagationSchema,
  /** How long builds are remembered. */
  retention: retentionSchema,
  /** What package managers fetched. */
  cache: cacheSchema,
  ...dispatchSchema,
  /** What the commands of builds need and nobody may read. */
  secrets: secretsSchema,
  /** Repositories elsewhere. */
  triggers: triggersSchema,
});

function checkCatalogs(value: string[]): ValueFault[] {
  return value.flatMap((entry, index) => {
    const message = isCatalogRepository(entry) ? catalogRepositoryFault(entry) : undefined;
    return message === undefined ? [] : [{ path: [index], message }];
  });
}
