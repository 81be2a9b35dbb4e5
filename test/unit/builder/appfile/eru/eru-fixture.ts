import type { AppFile } from '../../../../../builder/appfile/appfile.ts';
import { migrateAppFile } from '../../../../../builder/appfile/migrate-appfile.ts';
import { createAppFileParser } from '../../../../../builder/appfile/parse-appfile.ts';

const parseAppFile = createAppFileParser();

/** What a file means; it must be without errors, and mean the same after it was migrated, once and twice. */
export function meaningOf(text: string): AppFile {
  const { appfile, faults } = parseAppFile('app.yaml', text);
  if (appfile === undefined) throw new Error(`not accepted: ${JSON.stringify(faults)}`);
  const migrated = migrateAppFile('app.yaml', text, { parse: parseAppFile }).text ?? '';
  const again = parseAppFile('app.yaml', migrated);
  if (again.faults.some((fault) => fault.code === 'W002' || fault.severity === 'error')) {
    throw new Error(`the migrated file is not v1: ${JSON.stringify(again.faults)}\n${migrated}`);
  }
  if (JSON.stringify(sorted(again.appfile)) !== JSON.stringify(sorted(appfile))) {
    throw new Error(`the migrated file means something else:\n${migrated}`);
  }
  if (migrateAppFile('app.yaml', migrated, { parse: parseAppFile }).text !== migrated)
    throw new Error('migrated twice is not the same');
  return plain(appfile) as AppFile;
}

/** `4:3 error E020 path: message (hint)`, without the line that names the format. */
export function faultsOf(text: string): string[] {
  return parseAppFile('app.yaml', text)
    .faults.filter((fault) => !fault.message.startsWith('a file of Eru'))
    .map(({ line, column, severity, code, path, message, hint }) => {
      const more = hint === undefined ? '' : ` (${hint})`;
      return `${line}:${column} ${severity} ${code} ${path}: ${message}${more}`;
    });
}

/** A file of E2 with one role. */
export function withRole(body: string, top = ''): string {
  return `appname: shop\nbase: nodejs:26\nentrypoints:\n  web:\n    cmd: node x\n${body === '' ? '' : indent(body, 4)}${top}\n`;
}

export function roleOf(body: string, top = ''): Record<string, unknown> {
  return meaningOf(withRole(body, top)).entrypoints['web'] as unknown as Record<string, unknown>;
}

function indent(text: string, blanks: number): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(blanks)).replace(/\n?$/, '\n');
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== 'apiVersion');
  return Object.fromEntries(
    entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]),
  );
}
