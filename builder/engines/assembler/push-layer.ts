import { Readable } from 'node:stream';
import type { Digest } from '../../../oci/digest.ts';
import { isOciError } from '../../../oci/errors.ts';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { type Layer, writeLayer } from '../../../oci/layer.ts';
import type { Registry } from '../../../oci/registry.ts';

/** Compressed layers up to this size are held until their digest is known, and are not sent when the registry has them. */
const heldBytes = 4 * 1024 * 1024;

export interface PushedLayer {
  readonly layer: Layer;
  /** Resolves once the repository has the layer: true when it had to be stored. To be called once, and awaited. */
  readonly store: () => Promise<boolean>;
}

/**
 * Writes a layer into `repository`. Small ones go up in one call when `store` is called, larger ones stream through an upload session while they
 * are compressed. Errors, also of `store`: those of the entries and of the registry.
 */
export async function pushLayer(
  registry: Registry,
  repository: string,
  entries: AsyncIterable<LayerEntry> | Iterable<LayerEntry>,
  signal: AbortSignal,
): Promise<PushedLayer> {
  let session: string | undefined;
  let refused: { error: unknown } | undefined;
  // When an entry fails in the middle of an upload, the registry only sees a body that ended early; the entry's error is the one to tell.
  async function* watched(): AsyncGenerator<LayerEntry, void, undefined> {
    try {
      yield* entries;
    } catch (error) {
      refused = { error };
      throw error;
    }
  }
  try {
    const { layer, result } = await writeLayer(
      watched(),
      async (body) => {
        const iterator = body[Symbol.asyncIterator]();
        const { held, ended } = await holdUpTo(heldBytes, iterator);
        if (ended) return Buffer.concat(held);
        session = (await registry.startUpload(repository)).id;
        await registry.writeUpload(
          repository,
          session,
          Readable.from(continued(held, iterator), { objectMode: false }),
        );
        return undefined;
      },
      { signal },
    );
    if (result === undefined) {
      await registry.finishUpload(repository, session ?? '', layer.digest);
      return { layer, store: async () => true };
    }
    return {
      layer,
      async store() {
        if (await hasBlob(registry, repository, layer.digest)) return false;
        await registry.putBlob(repository, layer.digest, result);
        return true;
      },
    };
  } catch (error) {
    if (session !== undefined) await cancelQuietly(registry, repository, session);
    signal.throwIfAborted();
    throw refused === undefined ? error : refused.error;
  }
}

/** Errors: all of resolveBlob's but BLOB_UNKNOWN. */
export async function hasBlob(registry: Registry, repository: string, digest: Digest): Promise<boolean> {
  try {
    await registry.resolveBlob(repository, digest);
    return true;
  } catch (error) {
    if (isOciError(error, 'BLOB_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return false;
    throw error;
  }
}

async function holdUpTo(
  most: number,
  iterator: AsyncIterator<Buffer>,
): Promise<{ held: Buffer[]; ended: boolean }> {
  const held: Buffer[] = [];
  for (let size = 0; size <= most; ) {
    const next = await iterator.next();
    if (next.done === true) return { held, ended: true };
    held.push(next.value);
    size += next.value.length;
  }
  return { held, ended: false };
}

async function* continued(
  held: Buffer[],
  iterator: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer, void, undefined> {
  for (let chunk = held.shift(); chunk !== undefined; chunk = held.shift()) yield chunk;
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function cancelQuietly(registry: Registry, repository: string, session: string): Promise<void> {
  try {
    await registry.cancelUpload(repository, session);
  } catch {
    // The first error is the one that counts; an abandoned session is reaped by the registry.
  }
}
