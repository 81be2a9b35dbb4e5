import { compileRepositoryGlob } from '../core/auth/repository-glob.ts';
import { Type } from '../core/type.ts';

/** Garbage collection; the part `collection` of `brickyard.yaml`. */
export const collectionSchema = Type.Object({
  /** In the worker process of `brickyard serve`; `brickyard gc` works either way. */
  enabled: Type.Boolean({
    default: true,
    description: 'Collect garbage while the server runs.',
  }),
  grace: Type.Integer({
    default: 86_400,
    minimum: 0,
    maximum: 31_536_000,
    description:
      'Seconds that a blob which nobody references stays readable. Longer than the longest push, or its client has to send a blob twice.',
  }),
  interval: Type.Integer({
    default: 300,
    minimum: 1,
    maximum: 604_800,
    description: 'Seconds between two runs, which follow hints that deletes leave.',
  }),
  fullInterval: Type.Integer({
    default: 604_800,
    minimum: 60,
    maximum: 31_536_000,
    description: 'Seconds between two scans of the whole store.',
  }),
  rate: Type.Integer({
    default: 500,
    minimum: 0,
    maximum: 1_000_000,
    description: 'Requests to the store in a second that the server’s collector sends at most; 0 = no limit.',
  }),
  /** A policy of its own: what it removes was pushed on purpose once. */
  untagged: Type.Object({
    enabled: Type.Boolean({
      default: false,
      description: 'Also remove manifests without a tag that are in no index and sign nothing.',
    }),
    olderThan: Type.Integer({
      default: 2_592_000,
      minimum: 0,
      maximum: 315_360_000,
      description:
        'Seconds that such a manifest has to be without tag; not counted below `collection.grace`.',
    }),
    repositories: Type.Array(Type.String({ minLength: 1 }), {
      default: ['**'],
      description: 'Only in these repositories; patterns as in `auth.rules`.',
      'x-check': (value: string[]) =>
        value.flatMap((pattern, index) =>
          compileRepositoryGlob(pattern) === undefined
            ? [{ path: [index], message: `"${pattern}" is no pattern over repository names` }]
            : [],
        ),
    }),
  }),
});
