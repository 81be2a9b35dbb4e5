import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import type { DocumentFault, DocumentPath, SourceDocument } from './document.ts';
import { maxFaults } from './document-codes.ts';
import { suggest } from './suggest.ts';

/**
 * JSON Schema 2020-12, with two annotations of our own: `x-message` says in plain words what a value must look like (shown
 * instead of a pattern), `x-code` gives the faults of this place their own code. Prefer `type: ['string', 'array']` with
 * keywords for each type to `anyOf`: then a fault points to what is wrong instead of "none of the forms".
 */
export type JsonSchema = Readonly<Record<string, unknown>>;

export interface SchemaCodes {
  readonly unknownKey: string;
  readonly missingKey: string;
  readonly type: string;
  readonly value: string;
}

export const schemaCodes: SchemaCodes = {
  unknownKey: 'E010',
  missingKey: 'E011',
  type: 'E012',
  value: 'E013',
};

/** Compiles `schema` once (some milliseconds) and gives back the check of documents against it: faults in order of place. */
export function createSchemaChecker(
  schema: JsonSchema,
  codes: SchemaCodes = schemaCodes,
): (document: SourceDocument) => DocumentFault[] {
  const ajv = new Ajv2020({
    allErrors: true,
    verbose: true,
    allowUnionTypes: true,
    strictTypes: false,
    ownProperties: true,
    // Our schemas are the same at every start, and a test holds them against the meta-schema: to compile that here took
    // forty times as long as all the rest, in every process.
    meta: false,
    validateSchema: false,
    // Making the generated code shorter takes longer than it saves for files that are read once.
    code: { optimize: false },
  });
  ajv.addVocabulary(['x-message', 'x-code']);
  const validate = ajv.compile({ ...schema });
  return (document) => {
    if (validate(document.value)) return [];
    const faults = new Map<string, DocumentFault>();
    for (const error of prune(validate.errors ?? [])) {
      const fault = translate(document, error, codes);
      const id = `${fault.line}:${fault.column}:${fault.path}:${fault.code}:${fault.message}`;
      if (!faults.has(id)) faults.set(id, fault);
      if (faults.size >= maxFaults) break;
    }
    return sortFaults([...faults.values()]);
  };
}

/** `createSchemaChecker` for one document; keep the checker where many are checked. */
export function checkSchema(
  document: SourceDocument,
  schema: JsonSchema,
  codes?: SchemaCodes,
): DocumentFault[] {
  return createSchemaChecker(schema, codes)(document);
}

/** In order of their place in the file. */
export function sortFaults(faults: readonly DocumentFault[]): DocumentFault[] {
  return faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** Leaves out what only repeats another error: the inside of anyOf/oneOf, "if" and the summary of propertyNames. */
function prune(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const choices = errors.filter((error) => error.keyword === 'anyOf' || error.keyword === 'oneOf');
  const outside = errors.filter(
    (error) =>
      error.keyword !== 'if' &&
      error.keyword !== 'propertyNames' &&
      !choices.some((choice) => choice !== error && error.schemaPath.startsWith(`${choice.schemaPath}/`)),
  );
  const wrongType = new Set(
    outside.filter((error) => error.keyword === 'type').map((error) => error.instancePath),
  );
  // A value of the wrong type breaks every other rule for it too.
  const kept = outside.filter(
    (error) =>
      error.keyword === 'type' || error.propertyName !== undefined || !wrongType.has(error.instancePath),
  );
  // Never nothing: a document that does not fit must not pass because its errors looked like repetitions.
  return kept.length > 0 ? kept : errors;
}

function translate(document: SourceDocument, error: ErrorObject, codes: SchemaCodes): DocumentFault {
  const path = toPath(document.value, error.instancePath);
  const schema = (error.parentSchema ?? {}) as Record<string, unknown>;
  const own = typeof schema['x-code'] === 'string' ? schema['x-code'] : undefined;
  // Lengths and limits are clearer in their own words.
  const described = ['pattern', 'enum', 'const', 'not', 'format', 'contains'].includes(error.keyword);
  const message = described && typeof schema['x-message'] === 'string' ? schema['x-message'] : undefined;
  const params = error.params as Record<string, unknown>;
  if (error.propertyName !== undefined) {
    const name = error.propertyName;
    return document.fault([...path, name], {
      code: own ?? codes.value,
      message: message ?? `the key ${words(error, schema, params)}`,
      at: 'key',
    });
  }
  switch (error.keyword) {
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const key = String(
        params[error.keyword === 'additionalProperties' ? 'additionalProperty' : 'unevaluatedProperty'],
      );
      const known = Object.keys((schema['properties'] as object | undefined) ?? {});
      const near = suggest(key, known);
      return document.fault([...path, key], {
        code: codes.unknownKey,
        message: `unknown key ${JSON.stringify(clip(key))}`,
        hint: near === undefined ? knownKeys(known) : `did you mean ${JSON.stringify(near)}?`,
        at: 'key',
      });
    }
    case 'required':
      return document.fault(path, {
        code: codes.missingKey,
        message: `the key ${JSON.stringify(params['missingProperty'])} is missing`,
        at: 'key',
      });
    case 'type': {
      const wanted = [params['type']].flat().map(String);
      const value = valueAt(document.value, path);
      const quote = wanted.includes('string') && ['number', 'boolean'].includes(typeof value);
      const written = quote ? document.written(path) : undefined;
      return document.fault(path, {
        code: own ?? codes.type,
        message: `must be ${orList(wanted.map((type) => typeNames[type] ?? type))}, not ${describe(value)}`,
        ...(written === undefined ? {} : { hint: `write "${written}"` }),
      });
    }
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String);
      const value = valueAt(document.value, path);
      const near = typeof value === 'string' ? suggest(value, allowed) : undefined;
      return document.fault(path, {
        code: own ?? codes.value,
        message: message ?? `must be ${orList(allowed)}`,
        ...(near === undefined ? {} : { hint: `did you mean ${JSON.stringify(near)}?` }),
      });
    }
    default:
      return document.fault(path, {
        code: own ?? codes.value,
        message: message ?? words(error, schema, params),
      });
  }
}

function words(error: ErrorObject, schema: Record<string, unknown>, params: Record<string, unknown>): string {
  const limit = Number(params['limit']);
  switch (error.keyword) {
    case 'const':
      return `must be ${String(params['allowedValue'])}`;
    case 'minLength':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`;
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'minItems':
    case 'minProperties':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} entries`;
    case 'maxItems':
    case 'maxProperties':
      return `must have at most ${limit} entries`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'exclusiveMinimum':
      return `must be more than ${limit}`;
    case 'exclusiveMaximum':
      return `must be less than ${limit}`;
    case 'multipleOf':
      return `must be a multiple of ${String(params['multipleOf'])}`;
    case 'uniqueItems':
      return `entries ${Number(params['j']) + 1} and ${Number(params['i']) + 1} are equal`;
    case 'pattern':
      return `must match ${String(params['pattern'])}`;
    case 'anyOf':
    case 'oneOf': {
      const forms = (schema[error.keyword] as { title?: string }[]).map((form) => form.title);
      return forms.every((form) => form !== undefined)
        ? `must be ${orList(forms)}`
        : 'has none of the allowed forms';
    }
    default:
      return error.message ?? 'is not allowed here';
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  null: 'empty',
};

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return `the truth value ${value}`;
  return 'a number';
}

function orList(words: readonly string[]): string {
  if (words.length <= 1) return words.join('');
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function knownKeys(known: readonly string[]): string {
  const shown = known.slice(0, 24).join(', ');
  return known.length === 0
    ? 'no key is allowed here'
    : `known keys: ${shown}${known.length > 24 ? ', …' : ''}`;
}

function clip(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}

/** JSON pointer → path segments; which of them are list indexes is told by the value. */
function toPath(value: unknown, pointer: string): (string | number)[] {
  const path: (string | number)[] = [];
  let at: unknown = value;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    const segment = Array.isArray(at) ? Number(key) : key;
    path.push(segment);
    at = (at as Record<string | number, unknown> | undefined)?.[segment];
  }
  return path;
}

function valueAt(value: unknown, path: DocumentPath): unknown {
  let at: unknown = value;
  for (const segment of path) at = (at as Record<string | number, unknown> | null | undefined)?.[segment];
  return at;
}
