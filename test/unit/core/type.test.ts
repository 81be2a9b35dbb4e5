import TypeBox from 'typebox';
import { expect, it } from 'vitest';
import { Type } from '../../../core/type.ts';

const options = { description: 'what it is', default: 1, 'x-own': true };

/** As much as all of the product uses, made with either. */
function everything(type: typeof Type) {
  const inner = type.Object({ a: type.Optional(type.String(options)) }, options);
  return type.Object({
    any: type.Any(options),
    array: type.Array(type.Optional(type.Integer({ minimum: 1 })), { maxItems: 3 }),
    boolean: type.Boolean(),
    enum: type.Optional(type.Enum(['a', 'b'], options)),
    empty: type.Object({}),
    literal: type.Union([type.Literal(1), type.Literal('1', options), type.Literal(true)], options),
    nothing: type.Null(),
    number: type.Number(options),
    inner,
    innerMaybe: type.Optional(inner),
    again: type.Optional(type.Optional(inner)),
    unsafe: type.Unsafe<string>({ type: 'string', not: {} }),
    unsafeMaybe: type.Optional(type.Unsafe<string>({ type: 'string' })),
  });
}

it('makes what TypeBox makes, key by key in its order', () => {
  expect(JSON.stringify(everything(Type))).toBe(JSON.stringify(everything(TypeBox)));
});

it('leaves a schema as it is when it makes an optional one of it', () => {
  const schema = Type.String();

  Type.Optional(schema);

  expect(Type.Object({ schema })).toEqual({
    type: 'object',
    required: ['schema'],
    properties: { schema: { type: 'string' } },
  });
});
