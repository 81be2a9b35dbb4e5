import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LayerContent } from './entry.ts';

/**
 * Keeps contents until a layer is written. A header needs the content's hash and entries need sorting, but bodies come once
 * and in any order: up to `memoryBytes` stay in memory, all further ones go into one temporary file that has no name of its own in
 * any archive, so nothing from outside can choose where it is written.
 */
export interface ContentSpool {
  /** Takes `body` to its end. Contents are added one after another, never at the same time. */
  add(body: AsyncIterable<Uint8Array>): Promise<LayerContent>;
  /** Removes the temporary file; contents cannot be opened afterwards. */
  close(): Promise<void>;
}

export interface ContentSpoolOptions {
  /** Default 8 MiB. */
  readonly memoryBytes?: number;
  /** Default: the system's folder for temporary files. */
  readonly folder?: string;
}

export function createContentSpool(options: ContentSpoolOptions = {}): ContentSpool {
  let memoryLeft = options.memoryBytes ?? 8 * 1024 * 1024;
  let file: { handle: FileHandle; folder: string; path: string } | undefined;
  let end = 0;

  async function openFile(): Promise<{ handle: FileHandle; folder: string; path: string }> {
    if (file !== undefined) return file;
    const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'brickyard-layer-'));
    const path = join(folder, 'contents');
    try {
      file = { handle: await open(path, 'wx', 0o600), folder, path };
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    return file;
  }

  async function spill(chunk: Uint8Array): Promise<void> {
    const { handle } = await openFile();
    for (let written = 0; written < chunk.length; ) {
      const { bytesWritten } = await handle.write(chunk, written, chunk.length - written, end);
      written += bytesWritten;
      end += bytesWritten;
    }
  }

  return {
    async add(body) {
      const hash = createHash('sha256');
      const start = end;
      let held: Uint8Array[] | undefined = [];
      let size = 0;
      for await (const chunk of body) {
        hash.update(chunk);
        size += chunk.length;
        if (held !== undefined && size <= memoryLeft) {
          held.push(chunk);
          continue;
        }
        for (const earlier of held ?? []) await spill(earlier);
        held = undefined;
        await spill(chunk);
      }
      const sha256 = hash.digest();
      if (held !== undefined) {
        memoryLeft -= size;
        const bytes = Buffer.concat(held);
        return { size, sha256, open: () => once(bytes) };
      }
      const path = file?.path ?? '';
      return { size, sha256, open: () => createReadStream(path, { start, end: start + size - 1 }) };
    },
    async close() {
      if (file === undefined) return;
      const { handle, folder } = file;
      file = undefined;
      await handle.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (bytes.length > 0) yield bytes;
}
