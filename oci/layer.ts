import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';
import { type Digest, digestOfHash } from './digest.ts';
import type { LayerEntry } from './layer/entry.ts';
import { tarChunks } from './layer/tar-writer.ts';
import { mediaTypes } from './media-types.ts';

/** What a manifest and a config need to know of a layer. */
export interface Layer {
  readonly mediaType: string;
  /** Of the compressed bytes: what is pushed. */
  readonly digest: Digest;
  /** Compressed bytes. */
  readonly size: number;
  /** Of the tar: what the config's `rootfs.diff_ids` lists. */
  readonly diffId: Digest;
}

/**
 * Names the compressor: Node's zlib is a fork whose output differs between versions, so a compressed digest is
 * repeatable only for one compressor. The diffId never depends on it.
 */
export function compressorId(): string {
  return `zlib-${process.versions.zlib}-6`;
}

/**
 * Writes `entries` (in byte order of their paths) as a gzip-compressed layer and hands its bytes to `consume` as they are
 * made; memory stays bounded whatever the size. The same entries give the same diffId on every machine, and the same digest
 * where `compressorId()` is the same. `consume` must take all bytes. Errors: those of the entries' contents and of `consume`.
 */
export async function writeLayer<T>(
  entries: Iterable<LayerEntry> | AsyncIterable<LayerEntry>,
  consume: (body: AsyncIterable<Buffer>) => Promise<T>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<{ layer: Layer; result: T }> {
  const tarHash = createHash('sha256');
  const gzipHash = createHash('sha256');
  let size = 0;

  async function* hashedTar(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of tarChunks(entries)) {
      tarHash.update(chunk);
      yield chunk;
    }
  }
  async function* hashedGzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of source) {
      gzipHash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  }

  let result: { value: T } | undefined;
  await pipeline(
    hashedTar,
    createGzip({ level: 6, chunkSize: 65_536, strategy: constants.Z_DEFAULT_STRATEGY }),
    async (source: AsyncIterable<Buffer>) => {
      result = { value: await consume(hashedGzip(source)) };
    },
    options.signal === undefined ? {} : { signal: options.signal },
  );
  if (result === undefined) throw new Error('the layer was not consumed');
  const layer: Layer = {
    mediaType: mediaTypes.ociLayerGzip,
    digest: digestOfHash('sha256', gzipHash),
    size,
    diffId: digestOfHash('sha256', tarHash),
  };
  return { layer, result: result.value };
}
