import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ArchiveError } from './archive-error.ts';
import { type ArchiveLimits, checkExpansion, resolveLimits } from './archive-limits.ts';

/**
 * What `source` unpacks to, in bounded memory and with bounded output. Errors: ArchiveError when it is no gzip, damaged, cut
 * short or over a limit; those of `source`.
 */
export async function* gunzip(
  source: AsyncIterable<Uint8Array>,
  limits: ArchiveLimits = {},
): AsyncGenerator<Buffer, void, undefined> {
  const most = resolveLimits(limits);
  const unzip = createGunzip({ chunkSize: 64 * 1024 });
  let fault: unknown;
  async function* watched(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* source;
    } catch (error) {
      fault = error;
      throw error;
    }
  }
  const fed = pipeline(Readable.from(watched()), unzip);
  // The loop below meets the same failure.
  fed.catch(() => {});
  let unpacked = 0;
  try {
    for await (const chunk of unzip as AsyncIterable<Buffer>) {
      unpacked += chunk.length;
      checkExpansion(unpacked, unzip.bytesWritten, most);
      yield chunk;
    }
    await fed;
  } catch (cause) {
    if (cause instanceof ArchiveError) throw cause;
    if (fault !== undefined) throw fault;
    throw new ArchiveError('its gzip data is damaged or cut short', { cause });
  } finally {
    unzip.destroy();
  }
}
