import type { JsonSchema } from '../document/check-schema.ts';

/**
 * A configuration schema is a TypeBox object of objects whose leaves are settings. Beside JSON Schema's keywords
 * (`default`, `description`, …) a leaf may carry:
 */
export interface SettingAnnotations {
  /** May also be given as `…_FILE`, the path of a file that holds it; its value is never shown. */
  readonly 'x-secret'?: boolean;
  /**
   * A path, or a list of them; relative ones count from the configuration file's folder, or from the working directory in a variable. A
   * function says which texts are paths at all.
   */
  readonly 'x-path'?: boolean | ((text: string) => boolean);
  /** Known, but not to be used in this version: says so instead of "unknown key". */
  readonly 'x-unavailable'?: string;
  /** The same for single values. */
  readonly 'x-unavailable-values'?: Readonly<Record<string, string>>;
  /** What JSON Schema cannot say; runs only on values that fit the schema. */
  readonly 'x-check'?: (value: never) => readonly ValueFault[];
  /** Plain words shown instead of a pattern. */
  readonly 'x-message'?: string;
}

export interface ValueFault {
  /** Within the setting; empty for the whole of it. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly hint?: string;
}

export type SettingSchema = JsonSchema & SettingAnnotations;

/** One leaf of the schema. */
export interface Setting {
  readonly path: readonly string[];
  /** E.g. `BRICKYARD_PUBLIC_URL` for `publicUrl`. */
  readonly variable: string;
  readonly schema: SettingSchema;
}

export function listSettings(schema: JsonSchema, prefix: string): Setting[] {
  const walk = (part: SettingSchema, path: readonly string[]): Setting[] => {
    const properties = sectionProperties(part);
    if (properties === undefined) {
      return [{ path, variable: prefix + path.map(variablePart).join('_'), schema: part }];
    }
    return Object.entries(properties).flatMap(([key, child]) => walk(child, [...path, key]));
  };
  return walk(schema, []);
}

/** `publicUrl` → `PUBLIC_URL`. */
function variablePart(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();
}

/** The keys of a section; undefined for a setting. */
export function sectionProperties(
  schema: SettingSchema,
): Readonly<Record<string, SettingSchema>> | undefined {
  if (schema['x-unavailable'] !== undefined || schema['type'] !== 'object') return undefined;
  return schema['properties'] as Readonly<Record<string, SettingSchema>> | undefined;
}

/**
 * The schema of a file: every key may be left out, and a section whose lines are all commented out may be empty.
 * Values that this version only knows by name pass here, as they get a message of their own.
 */
export function fileSchema(schema: SettingSchema): JsonSchema {
  const properties = sectionProperties(schema);
  if (properties === undefined) return settingSchema(schema);
  return {
    type: ['object', 'null'],
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.entries(properties).map(([key, child]) => [key, fileSchema(child)]),
    ),
  };
}

/** A setting's plain JSON Schema. */
export function settingSchema(schema: SettingSchema): JsonSchema {
  if (schema['x-unavailable'] !== undefined) return {};
  const names = Object.keys(schema['x-unavailable-values'] ?? {});
  const plain = toPlain(schema) as Record<string, unknown>;
  return names.length === 0 ? plain : { if: { enum: names }, else: plain };
}

const dropped = new Set(['default', 'description', 'x-secret', 'x-path', 'x-check', 'x-unavailable-values']);

/** TypeBox's objects hold its own marks (`~kind`), which a strict validator refuses. */
function toPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !key.startsWith('~') && !dropped.has(key))
      .map(([key, child]) => [key, toPlain(child)]),
  );
}
