import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { UserError } from '../user-error.ts';
import { filePath } from './byte-path.ts';
import { isMissing } from './file-errors.ts';
import { fromByteString } from './key.ts';

/** How the files below `root` are laid out. Raise it with any change that an older version would misread. */
const VERSION = 1;

/** Marks a new directory; errors: UserError when it was laid out by a version that this one does not know. */
export function checkFormat(root: string): void {
  const path = `${root}/format.json`;
  const text = read(path);
  if (text === undefined) {
    mark(path, `${root}/tmp/${randomUUID()}`);
    return;
  }
  if (versionIn(text) !== VERSION) {
    throw new UserError(
      `${fromByteString(path)} does not say {"version":${VERSION}}: this directory was written by another version of Brickyard. ` +
        'Run that version, or give another directory.',
    );
  }
}

function versionIn(text: string): unknown {
  try {
    const marker: unknown = JSON.parse(text);
    return typeof marker === 'object' && marker !== null && 'version' in marker ? marker.version : undefined;
  } catch {
    return undefined;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(filePath(path), 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Several processes may start at once: each writes the same whole file. */
function mark(path: string, temporary: string): void {
  const fd = openSync(filePath(temporary), 'wx');
  try {
    writeSync(fd, `${JSON.stringify({ version: VERSION })}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(filePath(temporary), filePath(path));
}
