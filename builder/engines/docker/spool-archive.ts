import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** An archive on this machine's disk, in a file without a name: nothing is left of it when the process dies. */
export interface SpooledArchive {
  /** The whole of it, once; the file goes when the stream is closed. */
  open(): Readable;
  /** For one that is not opened. */
  close(): Promise<void>;
}

/** Takes `archive` to its end; whoever makes it bounds its size. `folder` defaults to the system's folder for temporary files. */
export async function spoolArchive(
  archive: AsyncIterable<Buffer>,
  options: { readonly folder?: string; readonly signal: AbortSignal },
): Promise<SpooledArchive> {
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'brickyard-outputs-'));
  let file: FileHandle;
  try {
    file = await open(join(folder, 'archive'), 'wx+', 0o600);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  try {
    await pipeline(
      archive,
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) await file.writeFile(chunk);
      },
      { signal: options.signal },
    );
  } catch (error) {
    await file.close();
    throw error;
  }
  return {
    open: () => file.createReadStream({ start: 0 }),
    close: () => file.close(),
  };
}
