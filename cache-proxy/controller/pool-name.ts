import { Type } from '../../core/type.ts';

export const poolNameSchema = Type.Object({
  name: Type.String({
    pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
    description: "The pool's name in its pools.yaml.",
  }),
});
