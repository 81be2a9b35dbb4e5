import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { ArchiveError } from '../../../core/archive/archive-error.ts';
import type { ArchiveLimits } from '../../../core/archive/archive-limits.ts';
import { entryPath, shownPath } from '../../../core/archive/entry-path.ts';
import { gunzip } from '../../../core/archive/gunzip.ts';
import { fileBytes } from '../../../core/archive/random-bytes.ts';
import { openZip } from '../../../core/archive/zip-reader.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';

/** One member of an archive, whatever kind of archive it is. */
export interface ArchiveMember {
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';
  /** Below the archive's root, checked by `entryPath`; '' is the root itself. Raw bytes as latin1. */
  readonly path: string;
  readonly executable: boolean;
  /** Of links, as it stands there. */
  readonly target: string;
  /** Content of a file. May be left unread; good only until the next member. */
  readonly body: AsyncIterable<Buffer>;
}

const limits: ArchiveLimits = { entries: 250_000, bytes: 8 * 1024 ** 3 };
const longestTarget = 4095;

/**
 * The members of a .tar, .tar.gz or .zip file (also .jar and .war), told by its first bytes, in bounded memory. Nothing is written
 * anywhere. Errors: ArchiveError and TarError for what is damaged, over a limit, or has a path that leads out of it.
 */
export async function* readArchive(file: string): AsyncGenerator<ArchiveMember, void, undefined> {
  const magic = await firstBytes(file);
  if (magic.startsWith('PK')) yield* readZip(file);
  else if (magic.startsWith('\x1f\x8b')) yield* readTarFile(gunzip(createReadStream(file), limits));
  else yield* readTarFile(createReadStream(file));
}

async function firstBytes(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function* readTarFile(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<ArchiveMember, void, undefined> {
  for await (const { entry, body } of readTar(source, limits)) {
    const special = entry.type.endsWith('device') || entry.type === 'fifo';
    yield {
      type: special ? 'other' : (entry.type as Exclude<typeof entry.type, `${string} device` | 'fifo'>),
      path: entryPath(entry.path),
      executable: (entry.mode & 0o111) !== 0,
      target: entry.target,
      body,
    };
  }
}

async function* readZip(file: string): AsyncGenerator<ArchiveMember, void, undefined> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const zip = await openZip(fileBytes(handle, size), limits);
    for (const entry of zip.entries) {
      let target = '';
      if (entry.type === 'symlink') {
        if (entry.size > longestTarget) {
          throw new ArchiveError(`entry ${shownPath(entry.path)}: its target is too long`);
        }
        for await (const chunk of zip.read(entry)) target += chunk.toString('latin1');
      }
      yield {
        type: entry.type,
        path: entryPath(entry.path),
        executable: (entry.mode & 0o111) !== 0,
        target,
        body: zip.read(entry),
      };
    }
  } finally {
    await handle.close();
  }
}
