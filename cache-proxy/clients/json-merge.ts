import { UserError } from '../../core/user-error.ts';

type Lists = Readonly<Record<string, readonly string[]>>;

export interface Merged {
  readonly text: string;
  /** Values that were not there. */
  readonly added: Lists;
  /** Keys that were not there. */
  readonly made: readonly string[];
}

/** Adds values to lists of a JSON object; everything else in it stays, as does its indentation. Errors: UserError naming `file`. */
export function mergeLists(text: string, add: Lists, file: string): Merged {
  const document = parseObject(text, file);
  const added: Record<string, string[]> = {};
  const made: string[] = [];
  for (const [key, values] of Object.entries(add)) {
    const present = Object.hasOwn(document, key) ? document[key] : undefined;
    if (present !== undefined && !Array.isArray(present)) {
      throw new UserError(`${file}: "${key}" is no list; nothing was changed. Mend it and run this again`);
    }
    const fresh = values.filter((value) => !(present ?? []).includes(value));
    if (present === undefined) made.push(key);
    if (fresh.length > 0) added[key] = fresh;
    document[key] = [...(present ?? []), ...fresh];
  }
  return { text: format(document, text), added, made };
}

/** Takes values out again, and keys of `made` that are empty then. Errors: UserError naming `file`. */
export function unmergeLists(text: string, added: Lists, made: readonly string[], file: string): string {
  const document = parseObject(text, file);
  for (const [key, values] of Object.entries(added)) {
    const present = Object.hasOwn(document, key) ? document[key] : undefined;
    if (!Array.isArray(present)) continue;
    document[key] = present.filter((value) => !values.includes(String(value)));
  }
  for (const key of made) {
    const rest = document[key];
    if (Array.isArray(rest) && rest.length === 0) delete document[key];
  }
  return format(document, text);
}

function parseObject(text: string, file: string): Record<string, unknown> {
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UserError(
      `${file} is no JSON (${(cause as Error).message}); nothing was changed. Mend it and run this again`,
      { cause },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UserError(`${file} holds no JSON object; nothing was changed. Mend it and run this again`);
  }
  return value as Record<string, unknown>;
}

function format(document: Record<string, unknown>, like: string): string {
  const indent = /^\{\s*\n([ \t]+)"/.exec(like)?.[1] ?? '  ';
  return `${JSON.stringify(document, undefined, indent)}\n`;
}
