import type TypeBox from 'typebox';

/** Not enumerable: it is for `Type.Object` alone, and no validator and no document sees it. */
const optional = Symbol('optional');

type Schema = Readonly<Record<string, unknown>>;

function object(properties: Readonly<Record<string, Schema>>, options?: Schema): Schema {
  const required = Object.keys(properties).filter((key) => !(optional in (properties[key] ?? {})));
  return { type: 'object', ...(required.length > 0 ? { required } : {}), properties, ...options };
}

const schemas = {
  Any: (options?: Schema): Schema => ({ ...options }),
  Array: (items: Schema, options?: Schema): Schema => ({ type: 'array', items, ...options }),
  Boolean: (options?: Schema): Schema => ({ type: 'boolean', ...options }),
  Enum: (values: readonly unknown[], options?: Schema): Schema => ({ enum: values, ...options }),
  Integer: (options?: Schema): Schema => ({ type: 'integer', ...options }),
  Literal: (value: string | number | boolean, options?: Schema): Schema => ({
    type: typeof value,
    const: value,
    ...options,
  }),
  Null: (options?: Schema): Schema => ({ type: 'null', ...options }),
  Number: (options?: Schema): Schema => ({ type: 'number', ...options }),
  Object: object,
  Optional: (schema: Schema): Schema =>
    Object.defineProperty({ ...schema }, optional, { value: true, enumerable: false }),
  String: (options?: Schema): Schema => ({ type: 'string', ...options }),
  Union: (anyOf: readonly Schema[], options?: Schema): Schema => ({ anyOf, ...options }),
  Unsafe: (schema: Schema): Schema => schema,
};

/**
 * JSON Schemas that are types as well: TypeBox's builders, as many as we use, with TypeBox's types (`Static` is imported from it, as a type). The library
 * itself is loaded by tests only: its 373 modules, a parser of TypeScript among them, took every process 0.1 s and 20 MB, for what is written above.
 */
export const Type = schemas as unknown as Pick<typeof TypeBox, keyof typeof schemas>;
