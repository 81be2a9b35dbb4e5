import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileBytes, type RandomBytes } from '../../core/archive/random-bytes.ts';

/** The body is larger than this server takes. */
export class PackageTooLarge extends Error {
  override readonly name = 'PackageTooLarge';
}

/** A package that arrived whole, in a file without a name: whatever happens, the system frees it with the process. */
export interface SpooledPackage extends RandomBytes {
  /** Lower-case hex. */
  readonly sha256: string;
  /** From the first byte to the last. */
  stream(): AsyncGenerator<Buffer, void, undefined>;
  close(): Promise<void>;
}

const chunkSize = 256 * 1024;

/** Errors: PackageTooLarge; what `body` fails with when its sender leaves in the middle; ENOSPC. */
export async function spoolPackage(
  body: AsyncIterable<Uint8Array>,
  options: { folder: string; maxBytes: number },
): Promise<SpooledPackage> {
  await mkdir(options.folder, { recursive: true });
  const path = join(options.folder, `upload-${randomBytes(12).toString('hex')}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await rm(path);
    const { size, sha256 } = await fill(file, body, options.maxBytes);
    const bytes = fileBytes(file, size);
    return {
      ...bytes,
      sha256,
      async *stream() {
        for (let at = 0; at < size; at += chunkSize)
          yield await bytes.read(at, Math.min(chunkSize, size - at));
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function fill(
  file: FileHandle,
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw new PackageTooLarge(`the package is larger than ${maxBytes} bytes`);
    hash.update(chunk);
    for (let written = 0; written < chunk.length; ) {
      written += (await file.write(chunk, written)).bytesWritten;
    }
  }
  return { size, sha256: hash.digest('hex') };
}
