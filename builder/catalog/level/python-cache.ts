import { createHash } from 'node:crypto';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import { fileTime, type LayerEntry, type LayerFile } from '../../../oci/layer/entry.ts';
import { readContent } from '../file-tree.ts';

/** `<folder>/__pycache__/<name>.cpython-311.pyc`, also `.opt-1.pyc`. */
const cached = /^((?:.*\/)?)__pycache__\/([^/]+)\.cpython-[0-9]+(?:\.opt-[0-9])?\.pyc$/;

/** Larger modules are none. */
const largestCache = 32 * 1024 * 1024;

/**
 * Compiled Python names the time of its source, and in a layer all files have other times: without this, Python would compile every module
 * anew at each start. Writes the source's time in the layer into the caches whose source is among `entries`. Format: PEP 552.
 */
export async function adjustPythonCaches(
  entries: Map<string, LayerEntry>,
  spool: ContentSpool,
): Promise<void> {
  for (const [path, entry] of entries) {
    const [, folder, name] = cached.exec(path) ?? [];
    const source = name === undefined ? undefined : entries.get(`${folder}${name}.py`);
    if (entry.type !== 'file' || source?.type !== 'file') continue;
    const { content } = entry;
    if ((content instanceof Uint8Array ? content.length : content.size) > largestCache) continue;
    const bytes = await readContent(content);
    // Magic, flags (0: valid while time and size of the source are these), time, size.
    if (bytes.length < 16 || bytes.readUInt32LE(4) !== 0) continue;
    bytes.writeUInt32LE(fileTime(hashOf(source)), 8);
    entries.set(path, { ...entry, content: await spool.add(once(bytes)) });
  }
}

function hashOf({ content }: LayerFile): Uint8Array {
  return content instanceof Uint8Array ? createHash('sha256').update(content).digest() : content.sha256;
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  yield bytes;
}
