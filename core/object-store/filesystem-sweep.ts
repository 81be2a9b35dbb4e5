import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { filePath } from './byte-path.ts';
import { isMissing } from './file-errors.ts';
import { removeFile } from './file-writer.ts';
import { claimFile } from './locks.ts';

/** Between two requests of one upload nobody holds its file: only time tells an idle upload from a forgotten one. */
const UPLOAD_MS = 24 * 60 * 60 * 1000;

/** Byte-string path of `tmp/`. Returns how many files were removed. */
export async function sweepTemporaries(temporary: string, olderThanMs: number): Promise<number> {
  const uploads = `${temporary}/multipart`;
  return (await sweep(temporary, olderThanMs)) + (await sweep(uploads, Math.max(olderThanMs, UPLOAD_MS)));
}

async function sweep(directory: string, olderThanMs: number): Promise<number> {
  let removed = 0;
  for (const entry of readdirSync(filePath(directory), { withFileTypes: true, encoding: 'latin1' })) {
    if (entry.isDirectory()) continue;
    if (removeIfDead(`${directory}/${entry.name}`, olderThanMs)) removed++;
    await nextTurn();
  }
  return removed;
}

function removeIfDead(path: string, olderThanMs: number): boolean {
  let fd: number;
  try {
    fd = openSync(filePath(path), 'r+');
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  try {
    if (Date.now() - fstatSync(fd).mtimeMs < olderThanMs || !claimFile(fd)) return false;
    // Read again under the claim: it may have been written to, or moved under its key, in between.
    const stat = fstatSync(fd);
    return Date.now() - stat.mtimeMs >= olderThanMs && removeFile(path);
  } finally {
    closeSync(fd);
  }
}
