import { open, readFile, rename } from 'node:fs/promises';
import { type PopularitySnapshot, parseSnapshot, SnapshotInvalid } from './snapshot.ts';

/**
 * The last snapshot in a pool's folder. Undefined: there is none. Losing it costs some prewarming and nothing else, so a damaged one is told to
 * `onDamage` and is none. Errors: those of the file system ("could not look").
 */
export async function readSnapshotFile(
  file: string,
  now: number,
  onDamage: (reason: string) => void,
): Promise<PopularitySnapshot | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parseSnapshot(JSON.parse(text), now);
  } catch (error) {
    if (!(error instanceof SnapshotInvalid) && !(error instanceof SyntaxError)) throw error;
    onDamage(error.message);
    return undefined;
  }
}

/** Readers see the old snapshot or the new one; whole, also after power loss. */
export async function writeSnapshotFile(file: string, snapshot: PopularitySnapshot): Promise<void> {
  const partial = `${file}.new`;
  // Names of private repositories: nobody else's business on this machine.
  const handle = await open(partial, 'w', 0o600);
  try {
    await handle.writeFile(JSON.stringify(snapshot));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(partial, file);
}
