import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectStore, StoredStream } from '../../core/object-store/object-store.ts';
import { gitKeys } from './git-keys.ts';

/** Larger ones (some 600,000 objects) are made by git again: they would be held in memory. Bytes. */
const indexLimit = 16 * 1024 * 1024;

/**
 * Stores what git found out about a pack, so that another machine need not unpack every object to learn it. A shortcut only: nothing is
 * lost without it.
 */
export async function storePackIndex(
  store: ObjectStore,
  repository: { team: string; app: string },
  id: string,
  folder: string,
): Promise<void> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of createReadStream(join(folder, `pack-${id}.idx`))) {
    size += (part as Buffer).length;
    if (size > indexLimit) return;
    parts.push(part as Buffer);
  }
  const key = gitKeys.packIndex(repository.team, repository.app, id);
  await store.put(key, Buffer.concat(parts), { durability: 'process' });
}

/**
 * Brings a pack and its index from the store into `folder` as they are, with the checksums compared that both end in: that takes a tenth
 * of what `git index-pack` does, which unpacks every object. False: there is no such index, or something does not fit. Errors: the store's and the disk's.
 */
export async function restorePack(
  store: ObjectStore,
  repository: { team: string; app: string },
  id: string,
  folder: string,
): Promise<boolean> {
  const { team, app } = repository;
  const index = await store.get(gitKeys.packIndex(team, app, id), { limit: indexLimit });
  if (index === undefined || !isIndex(index.body)) return false;
  const stored = await store.getStream(gitKeys.pack(team, app, id));
  if (stored === undefined) return false;
  // git removes leftovers of this name by itself.
  const temporary = join(folder, `tmp_pack_${randomBytes(6).toString('hex')}`);
  try {
    if (!(await writePack(stored, temporary, packChecksum(index.body)))) return false;
    await writeFile(`${temporary}.idx`, index.body, { mode: 0o444 });
    // The index last: with it git sees the pack. Other processes may do the same at once, with the same bytes.
    await rename(temporary, join(folder, `pack-${id}.pack`));
    await rename(`${temporary}.idx`, join(folder, `pack-${id}.idx`));
    return true;
  } finally {
    await Promise.all([temporary, `${temporary}.idx`].map((file) => rm(file, { force: true })));
  }
}

/** gitformat-pack(5), "pack-*.idx files", version 2: ends in the pack's checksum and its own. */
function isIndex(bytes: Buffer): boolean {
  if (bytes.length < 1072 || bytes.readUInt32BE(0) !== 0xff744f63 || bytes.readUInt32BE(4) !== 2)
    return false;
  return createHash('sha1').update(bytes.subarray(0, -20)).digest().equals(bytes.subarray(-20));
}

function packChecksum(index: Buffer): Buffer {
  return index.subarray(-40, -20);
}

/** False when the bytes are not those that `checksum` was made of. */
async function writePack({ body, size }: StoredStream, path: string, checksum: Buffer): Promise<boolean> {
  const hash = createHash('sha1');
  const tail: Buffer[] = [];
  let left = size - 20;
  const file = await open(path, 'wx', 0o444);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const hashed = chunk.subarray(0, Math.max(0, left));
      // The kernel copies while this thread hashes.
      const writing = writeAll(file, chunk);
      hash.update(hashed);
      if (hashed.length < chunk.length) tail.push(Buffer.from(chunk.subarray(hashed.length)));
      left -= hashed.length;
      await writing;
    }
  } finally {
    body.destroy();
    await file.close();
  }
  return Buffer.concat(tail).equals(checksum) && hash.digest().equals(checksum);
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
  }
}
