import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Static, TObject } from 'typebox';
import { createSchemaChecker, sortFaults } from '../document/check-schema.ts';
import type { DocumentFault, SourceDocument } from '../document/document.ts';
import { formatFaults } from '../document/format-faults.ts';
import { parseDocument } from '../document/parse-document.ts';
import { UserError } from '../user-error.ts';
import { checkValue } from './check-value.ts';
import { type EnvironmentValues, readEnvironment } from './environment.ts';
import { fileSchema, listSettings, type Setting, type SettingSchema, sectionProperties } from './settings.ts';

export interface ConfigSource<Schema extends TObject> {
  readonly schema: Schema;
  /** A file that is not `required` may be missing. */
  readonly file?: { readonly path: string; readonly required: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of variables, e.g. `BRICKYARD_`. */
  readonly prefix: string;
  /** Variables with the prefix that are no settings. */
  readonly otherVariables?: readonly string[];
  /** Where relative paths in variables and defaults start; default the working directory. */
  readonly cwd?: string;
}

/** A section may be anything down to its leaves. */
export type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/**
 * Variables win over the file, the file over defaults. Anything that is not understood stops the start.
 * Errors: UserError with every fault at once, those of the file as `file:line:column` with the line, those of
 * variables by name.
 */
export function loadConfig<Schema extends TObject>(
  source: ConfigSource<Schema>,
): DeepReadonly<Static<Schema>> {
  const { env, prefix, otherVariables = [], cwd = process.cwd() } = source;
  const schema = source.schema as unknown as SettingSchema;
  const settings = listSettings(schema, prefix);
  const document = readFile(source.file, cwd);
  const fileFaults = document === undefined ? [] : checkFile(document, schema, settings);
  const environment = readEnvironment({ settings, env, prefix, otherVariables });

  if (fileFaults.length > 0 || environment.faults.length > 0) {
    throw new UserError(describeFaults(document, fileFaults, environment, settings), { exitCode: 2 });
  }
  const fileFolder = document === undefined ? cwd : dirname(document.file);
  const config = build(schema, [], (setting, path) => {
    const fromVariable = environment.values.get(path.join('.'))?.value;
    if (fromVariable !== undefined) return absolute(fromVariable, setting, cwd);
    const fromFile = valueAt(document?.value, path);
    if (fromFile !== undefined && fromFile !== null) return absolute(fromFile, setting, fileFolder);
    return absolute(structuredClone(setting['default']), setting, cwd);
  });
  return deepFreeze(config) as DeepReadonly<Static<Schema>>;
}

function readFile(
  file: { path: string; required: boolean } | undefined,
  cwd: string,
): SourceDocument | undefined {
  if (file === undefined) return undefined;
  const path = resolve(cwd, file.path);
  try {
    return parseDocument(path, readFileSync(path));
  } catch (cause) {
    if (!file.required && (cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UserError(`cannot read the configuration ${path}: ${(cause as Error).message}`, {
      exitCode: 2,
      cause,
    });
  }
}

function checkFile(
  document: SourceDocument,
  schema: SettingSchema,
  settings: readonly Setting[],
): DocumentFault[] {
  if (document.faults.length > 0) return [...document.faults];
  const faults = createSchemaChecker(fileSchema(schema))(document);
  const wrong = new Set(faults.map((fault) => fault.path.split(/[.[]/).join('.')));
  for (const setting of settings) {
    const value = valueAt(document.value, setting.path);
    if (value === undefined || value === null) continue;
    const early = checkValue(value, setting.schema, 'availability');
    const path = setting.path.join('.');
    const fits = ![...wrong].some((place) => place === path || place.startsWith(`${path}.`));
    const found = early.length > 0 ? early : fits ? checkValue(value, setting.schema, 'meaning') : [];
    for (const { path: inner, message, hint } of found) {
      const at = early.length > 0 && setting.schema['x-unavailable'] !== undefined ? 'key' : 'value';
      faults.push(
        document.fault([...setting.path, ...inner], {
          code: early.length > 0 ? 'E015' : 'E014',
          message,
          at,
          ...(hint === undefined ? {} : { hint }),
        }),
      );
    }
  }
  return sortFaults(faults);
}

function describeFaults(
  document: SourceDocument | undefined,
  fileFaults: readonly DocumentFault[],
  environment: EnvironmentValues,
  settings: readonly Setting[],
): string {
  const secret = settings.filter(({ schema }) => schema['x-secret'] === true);
  const count = fileFaults.length + environment.faults.length;
  const inFile =
    document === undefined
      ? ''
      : formatFaults(
          fileFaults.map((fault) => withoutPassword(fault, secret)),
          { file: document.file, text: withoutPasswords(withoutSecrets(document, secret)) },
        );
  const inEnvironment = environment.faults
    .map(
      ({ variable, message, hint }) => `${variable}: ${message}${hint === undefined ? '' : ` (${hint})`}\n`,
    )
    .join('');
  const head = count === 1 ? 'the configuration has a fault' : `the configuration has ${count} faults`;
  return `${head}:\n${inFile}${inEnvironment}`.trimEnd();
}

/** A hint repeats the value. */
function withoutPassword(fault: DocumentFault, secret: readonly Setting[]): DocumentFault {
  const hidden =
    /\b(?:password|key)$/.test(fault.path) || secret.some(({ path }) => path.join('.') === fault.path);
  return fault.hint !== undefined && hidden ? { ...fault, hint: 'text stands in quotes' } : fault;
}

/** Lines are shown where a fault is; carets stay right as nothing changes its length. */
function withoutPasswords(text: string): string {
  const secrets =
    /(\b(?:password|key)["']?[ \t]*:[ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,{}][^,}\n]*)|(:\/\/)([^@/\s]+)(?=@)/g;
  return text.replace(secrets, (_, key?: string, value?: string, slashes?: string, user?: string) =>
    key === undefined ? `${slashes}${'*'.repeat(user?.length ?? 0)}` : key + '*'.repeat(value?.length ?? 0),
  );
}

/** The whole value of a setting that is one secret, wherever it stands, in stars of the same length. */
function withoutSecrets(document: SourceDocument, secret: readonly Setting[]): string {
  const values = secret
    .map(({ path }) => valueAt(document.value, path))
    .filter((value) => typeof value === 'string' || typeof value === 'number')
    .map(String);
  return values
    .filter((value) => value !== '')
    .reduce((hidden, value) => hidden.replaceAll(value, '*'.repeat(value.length)), document.text);
}

function build(
  schema: SettingSchema,
  path: readonly string[],
  valueOf: (setting: SettingSchema, path: readonly string[]) => unknown,
): unknown {
  const properties = sectionProperties(schema);
  if (properties === undefined) return valueOf(schema, path);
  return Object.fromEntries(
    Object.entries(properties)
      .map(([key, child]) => [key, build(child, [...path, key], valueOf)] as const)
      .filter(([, value]) => value !== undefined),
  );
}

function absolute(value: unknown, setting: SettingSchema, folder: string): unknown {
  const rule = setting['x-path'];
  if (rule === undefined || rule === false) return value;
  if (Array.isArray(value)) return value.map((item) => absolute(item, setting, folder));
  return typeof value === 'string' && (rule === true || rule(value)) ? resolve(folder, value) : value;
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  let at: unknown = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[key];
  }
  return at;
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const child of Object.values(value)) deepFreeze(child);
  return Object.freeze(value);
}
