import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatFaults } from '../../../core/document/format-faults.ts';
import { UserError } from '../../../core/user-error.ts';
import { checkRuntimeScript } from '../../plan/runtime-script.ts';
import type { CatalogEntry } from '../catalog.ts';

/** What `packages` without a script of one's own means. */
const installAll = Buffer.from('#!/bin/sh\nset -eu\nexec apt-get install -y $PACKAGES\n');

/** The script that makes an entry's level, the default one included; undefined = it needs none, and no container engine. Errors: UserError. */
export async function readLevelScript(entry: CatalogEntry): Promise<Buffer | undefined> {
  const file = join(entry.directory, 'static.sh');
  const script = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (script === undefined) return entry.file.packages === undefined ? undefined : installAll;
  if (entry.parent === undefined) {
    throw new UserError(`${file}: a script runs over a parent, and ${entry.id} has none`);
  }
  const { document, faults } = checkRuntimeScript(file, script);
  if (faults.length > 0) throw new UserError(formatFaults(faults, document).trimEnd());
  return script;
}
