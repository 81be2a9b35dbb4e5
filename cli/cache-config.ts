import { Type } from '../core/type.ts';

/** What package managers fetched, kept between builds; the part `builder.cache` of `brickyard.yaml`. See docs/dependency-caches.md. */
export const cacheSchema = Type.Object({
  maxBytes: Type.Integer({
    default: 2 * 1024 ** 3,
    minimum: 0,
    description:
      'Bytes that the packages of one kind (npm, Maven …) of one application may have to be kept for the next build; 0 = nothing is kept.',
  }),
  unusedDays: Type.Integer({
    default: 30,
    minimum: 1,
    maximum: 3650,
    description: 'Days after which kept packages go that no build has used.',
  }),
});
