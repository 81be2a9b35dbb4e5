import { readFileSync } from 'node:fs';
import { checkSchema } from '../document/check-schema.ts';
import { formatDocumentPath } from '../document/document.ts';
import { parseDocument } from '../document/parse-document.ts';
import { suggest } from '../document/suggest.ts';
import { checkValue } from './check-value.ts';
import { type Setting, type SettingSchema, settingSchema } from './settings.ts';

export interface EnvironmentFault {
  readonly variable: string;
  readonly message: string;
  readonly hint?: string;
}

export interface EnvironmentValues {
  /** Value and the variable it came from, by dotted path. */
  readonly values: ReadonlyMap<string, { value: unknown; variable: string }>;
  readonly faults: readonly EnvironmentFault[];
}

/** Reads the settings' variables; empty ones count as not set, as compose files and CI pass them. */
export function readEnvironment(options: {
  settings: readonly Setting[];
  env: Readonly<Record<string, string | undefined>>;
  prefix: string;
  /** Variables with the prefix that mean something else. */
  otherVariables: readonly string[];
}): EnvironmentValues {
  const { settings, env, prefix, otherVariables } = options;
  const values = new Map<string, { value: unknown; variable: string }>();
  const faults: EnvironmentFault[] = [];
  const known = knownVariables(settings);
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || text === undefined || text === '') continue;
    if (otherVariables.includes(variable) || isServiceLink(variable, prefix)) continue;
    const found = known.get(variable) ?? unavailable(settings, variable);
    if (found === undefined) {
      const near = suggest(
        variable.slice(prefix.length),
        [...known.keys()].map((name) => name.slice(prefix.length)),
      );
      faults.push({
        variable,
        message: 'no setting has this name',
        ...(near === undefined ? {} : { hint: `did you mean ${prefix}${near}?` }),
      });
      continue;
    }
    const key = found.setting.path.join('.');
    if (values.has(key)) {
      faults.push({
        variable,
        message: `give either ${found.setting.variable} or ${found.setting.variable}_FILE`,
      });
      continue;
    }
    const read = readVariable(found, variable, text);
    if ('faults' in read) faults.push(...read.faults);
    else values.set(key, { value: read.value, variable });
  }
  return { values, faults };
}

interface Found {
  readonly setting: Setting;
  readonly fromFile: boolean;
}

function knownVariables(settings: readonly Setting[]): Map<string, Found> {
  return new Map(
    settings.flatMap((setting): [string, Found][] => [
      [setting.variable, { setting, fromFile: false }],
      ...(setting.schema['x-secret'] === true
        ? [[`${setting.variable}_FILE`, { setting, fromFile: true }] satisfies [string, Found]]
        : []),
    ]),
  );
}

/** `…_S3_BUCKET` where all of `s3` is not available. */
function unavailable(settings: readonly Setting[], variable: string): Found | undefined {
  const setting = settings.find(
    (candidate) =>
      candidate.schema['x-unavailable'] !== undefined && variable.startsWith(`${candidate.variable}_`),
  );
  return setting === undefined ? undefined : { setting, fromFile: false };
}

/**
 * Kubernetes and docker's links set `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_5000_TCP_ADDR` … for a service that is
 * called like us; they are nobody's typing mistake.
 */
function isServiceLink(variable: string, prefix: string): boolean {
  return /^(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP)(?:_(?:PROTO|PORT|ADDR))?)?|NAME)$/.test(
    variable.slice(prefix.length),
  );
}

function readVariable(
  { setting, fromFile }: Found,
  variable: string,
  written: string,
): { value: unknown } | { faults: EnvironmentFault[] } {
  const fail = (message: string, hint?: string) => ({
    faults: [{ variable, message, ...(hint === undefined ? {} : { hint }) }],
  });
  let text = written;
  if (fromFile) {
    try {
      text = readFileSync(written, 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      return fail(`cannot read the file: ${(error as Error).message}`);
    }
  }
  const value = parseText(text, setting.schema);
  const early = checkValue(value, setting.schema, 'availability');
  if (early.length > 0) return { faults: early.map(({ message }) => ({ variable, message })) };
  const document = parseDocument(variable, JSON.stringify(value));
  const wrong = [...document.faults, ...checkSchema(document, settingSchema(setting.schema))];
  const faults = wrong.length > 0 ? wrong : checkValue(value, setting.schema, 'meaning');
  if (faults.length === 0) return { value };
  return {
    faults: faults.map(({ path, message, hint }) => {
      const place = typeof path === 'string' ? path : formatDocumentPath(path);
      return {
        variable,
        message: place === '' ? message : `${place}: ${message}`,
        ...(hint === undefined ? {} : { hint }),
      };
    }),
  };
}

/** Text that cannot be read as the setting's type stays text, and the schema then says what was expected. */
function parseText(text: string, schema: SettingSchema): unknown {
  switch (schema['type']) {
    case 'integer':
    case 'number':
      return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
    case 'boolean':
      if (/^(?:true|yes|on|1)$/i.test(text)) return true;
      return /^(?:false|no|off|0)$/i.test(text) ? false : text;
    case 'array': {
      const items = schema['items'] as SettingSchema | undefined;
      if (items?.['type'] === 'string' && !text.trimStart().startsWith('[')) {
        return text
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '');
      }
      return parseJson(text);
    }
    case 'object':
      return parseJson(text);
    default:
      return text;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
