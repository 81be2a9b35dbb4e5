import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A set of data keys that may be larger than memory: kept by the two hex digits that a key begins with, and written to a
 * temporary folder where it grows. Keys of another shape are kept as they are; nobody else writes below `data/`.
 */
export interface KeyPartitions {
  add(key: string): Promise<void>;
  /** Quick when keys are asked for in their order. */
  has(key: string): Promise<boolean>;
  close(): Promise<void>;
}

const idBytes = 16;
const dataKeyPattern = /^data\/([0-9a-f]{2})\/([0-9a-f]{32})$/;

/** `memoryBytes`: ids held before they are written out; default 64 MiB, that is four million keys. */
export function createKeyPartitions(memoryBytes = 64 * 1024 * 1024): KeyPartitions {
  let held = new Map<string, Buffer[]>();
  let bytes = 0;
  let folder: Promise<string> | undefined;
  let writing: Promise<void> = Promise.resolve();
  let opened: { readonly part: string; readonly ids: ReadonlySet<string> } | undefined;
  const odd = new Set<string>();

  async function writeOut(): Promise<void> {
    const full = held;
    held = new Map();
    bytes = 0;
    folder ??= mkdtemp(join(tmpdir(), 'brickyard-verify-'));
    const path = await folder;
    for (const [part, ids] of full) await appendFile(join(path, part), Buffer.concat(ids));
  }

  async function open(part: string): Promise<ReadonlySet<string>> {
    if (opened?.part === part) return opened.ids;
    await writing;
    const written =
      folder === undefined
        ? Buffer.alloc(0)
        : await readFile(join(await folder, part)).catch((error: NodeJS.ErrnoException) => {
            if (error.code === 'ENOENT') return Buffer.alloc(0);
            throw error;
          });
    const all = Buffer.concat([written, ...(held.get(part) ?? [])]);
    const ids = new Set<string>();
    for (let at = 0; at < all.length; at += idBytes) ids.add(all.toString('latin1', at, at + idBytes));
    opened = { part, ids };
    return ids;
  }

  return {
    async add(key) {
      opened = undefined;
      const [, part = '', id = ''] = dataKeyPattern.exec(key) ?? [];
      if (id === '') {
        odd.add(key);
        return;
      }
      const ids = held.get(part);
      const packed = Buffer.from(id, 'hex');
      if (ids === undefined) held.set(part, [packed]);
      else ids.push(packed);
      // A small buffer takes more than its bytes.
      bytes += idBytes + 80;
      if (bytes < memoryBytes) return;
      writing = writing.then(writeOut);
      await writing;
    },
    async has(key) {
      const [, part = '', id = ''] = dataKeyPattern.exec(key) ?? [];
      if (id === '') return odd.has(key);
      return (await open(part)).has(Buffer.from(id, 'hex').toString('latin1'));
    },
    async close() {
      await writing.catch(() => {});
      if (folder !== undefined) await rm(await folder, { recursive: true, force: true });
    },
  };
}
