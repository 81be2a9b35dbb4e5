import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import type { NodeClient } from './client-setup.ts';
import { writeWhole } from './write-whole.ts';

/** What `pool clients --install` changed on this machine, so that `--undo` takes back exactly that. */
export interface InstallRecord {
  readonly version: 1;
  readonly pool: string;
  readonly endpoint: string;
  /** What images are called by that come through the pool. */
  readonly registries: readonly string[];
  /** Certificates (PEM) that the pool's is checked with. */
  readonly ca?: string;
  readonly files: readonly InstalledFile[];
  readonly merges: readonly InstalledMerge[];
}

export interface InstalledFile {
  readonly client: NodeClient;
  /** As programs on the machine see it, without `--root`. */
  readonly path: string;
  /** Hex SHA-256 of what was written. */
  readonly sha256: string;
  /** File beside the record with what was there before. Undefined: nothing was. */
  readonly before?: string;
}

export interface InstalledMerge {
  readonly client: NodeClient;
  readonly path: string;
  /** Values that were not there before. */
  readonly added: Readonly<Record<string, readonly string[]>>;
  /** Keys that were not there before, or true: the whole file was not. */
  readonly made: readonly string[] | true;
}

/** Folder of one pool's record and of what it replaced. */
export function recordFolder(root: string, pool: string): string {
  return join(root, 'var/lib/brickyard/clients', pool);
}

/** Undefined: nothing was installed. Errors: UserError for a damaged one. */
export async function readRecord(root: string, pool: string): Promise<InstallRecord | undefined> {
  const file = join(recordFolder(root, pool), 'installed.json');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UserError(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  try {
    const record = JSON.parse(text) as InstallRecord;
    if (record.version === 1 && Array.isArray(record.files) && Array.isArray(record.merges)) return record;
  } catch {
    // Said below.
  }
  throw new UserError(
    `${file} is damaged; what was replaced lies beside it: put that back by hand, and remove the folder`,
  );
}

/** Before anything is changed, so that a crash leaves nothing that is not written down. */
export async function writeRecord(root: string, record: InstallRecord): Promise<void> {
  const folder = recordFolder(root, record.pool);
  await mkdir(folder, { recursive: true });
  await writeWhole(join(folder, 'installed.json'), `${JSON.stringify(record, undefined, 2)}\n`);
}

export async function removeRecord(root: string, pool: string): Promise<void> {
  await rm(recordFolder(root, pool), { recursive: true, force: true });
}
