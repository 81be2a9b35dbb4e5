import type { DocumentPath } from '../../core/document/document.ts';
import { suggest } from '../../core/document/suggest.ts';
import { parseImageReference } from '../../oci/reference.ts';
import { appFileCodes } from './codes.ts';
import { isMap } from './legacy.ts';
import { parseSignal } from './values.ts';

/** Takes a fault; one at a path where the schema found one already is left out, because it would repeat it. */
export type Report = (
  path: DocumentPath,
  fault: { code: string; message: string; hint?: string; severity?: 'error' | 'warning'; at?: 'key' },
) => void;

export function checkBase(path: DocumentPath, base: unknown, report: Report): void {
  if (typeof base !== 'string' || base === '') return;
  const message = `${JSON.stringify(base.slice(0, 80))} is no image reference`;
  if (parseImageReference(base) === undefined) {
    report(path, { code: appFileCodes.base, message, hint: 'write name:channel, such as nodejs:26' });
  }
}

/** Variables that the image sets itself. */
const ownVariables = ['APP_NAME', 'HOME'];

export function checkEnvironment(path: DocumentPath, environment: unknown, report: Report): void {
  if (!isMap(environment)) return;
  for (const name of Object.keys(environment)) {
    if (!ownVariables.includes(name)) continue;
    report([...path, name], {
      code: appFileCodes.environment,
      message: `${name} is set by the image`,
      at: 'key',
    });
  }
}

export function checkSignal(path: DocumentPath, signal: unknown, report: Report): void {
  if (typeof signal !== 'string' || parseSignal(signal) !== undefined) return;
  const near = suggest(signal.toUpperCase().replace(/^SIG/, ''), [
    'TERM',
    'INT',
    'QUIT',
    'HUP',
    'WINCH',
    'USR1',
    'USR2',
  ]);
  report(path, {
    code: appFileCodes.value,
    message: 'must be a signal such as TERM, INT or QUIT',
    ...(near === undefined ? {} : { hint: `did you mean "${near}"?` }),
  });
}

export function hasDots(path: string): boolean {
  return path.split('/').some((part) => part === '.' || part === '..');
}
