import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findAppFiles, isForeignFolder, maxAppFileDepth } from '../builder/appfile/find-appfiles.ts';

/** Folders below `folder` that a push of it would build as applications of their own, relative to it; '' is itself. */
export function findAppFolders(folder: string): readonly string[] {
  return findAppFiles(walk(folder, '', 0)).directories;
}

function* walk(folder: string, prefix: string, depth: number): Generator<string, void, undefined> {
  let entries;
  try {
    entries = readdirSync(join(folder, prefix), { withFileTypes: true });
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = prefix + entry.name;
    if (entry.isFile()) yield path;
    else if (entry.isDirectory() && depth < maxAppFileDepth && !isForeignFolder(entry.name)) {
      yield* walk(folder, `${path}/`, depth + 1);
    }
  }
}
