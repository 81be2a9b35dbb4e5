import type { Readable } from 'node:stream';
import { type LayerEntry, layerEpoch } from '../../../oci/layer/entry.ts';
import { encodeHeader, padding } from '../../../oci/layer/tar-header.ts';

export interface TarFileOptions {
  /** Bytes; needed for a stream. */
  readonly size?: number;
  /** Default 0644. */
  readonly mode?: number;
  /** User and group; default 0. */
  readonly owner?: number;
}

/** One file of an archive whose names are raw bytes as latin1 text. Errors: when the stream is longer or shorter than announced. */
export async function* tarFile(
  path: string,
  content: Buffer | Readable | AsyncIterable<Buffer>,
  options: TarFileOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  const { mode = 0o644, owner = 0 } = options;
  const size = options.size ?? (content as Buffer).length;
  yield tarHeader({ type: 'file', path, mode, uid: owner, gid: owner, content: noContent }, size);
  if (Buffer.isBuffer(content)) {
    yield content;
  } else {
    let seen = 0;
    for await (const chunk of content as AsyncIterable<Buffer>) {
      seen += chunk.length;
      if (seen > size) break;
      yield chunk;
    }
    if (seen !== size)
      throw new Error(`${JSON.stringify(path)} does not have the ${size} bytes it announced`);
  }
  yield padding(size);
}

export function tarHeader(entry: LayerEntry, size = 0): Buffer {
  return encodeHeader(entry, size, layerEpoch);
}

/** What ends an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(1024);
}

const noContent = new Uint8Array();
