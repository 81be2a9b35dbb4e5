import { Readable } from 'node:stream';
import { keyParts } from '../key.ts';
import {
  type IncompleteUpload,
  MultipartBusy,
  type MultipartStore,
  MultipartUnknown,
} from '../object-store.ts';
import { assemble } from './assemble.ts';
import {
  decodeState,
  emptyState,
  encodeState,
  isWhole,
  pieceKey,
  piecePrefix,
  type UploadState,
} from './multipart-state.ts';
import type { PartBuffers } from './part-buffers.ts';
import { createPartWriter } from './part-writer.ts';
import type { Requests, Wire } from './requests.ts';
import type { UploadCalls } from './upload-calls.ts';

export interface S3MultipartDeps {
  readonly calls: UploadCalls;
  readonly wire: Wire;
  readonly requests: Requests;
  readonly buffers: PartBuffers;
  readonly firstPartBytes: number;
  /** See PartWriterDeps. */
  readonly slowMs: number;
  /** The store's prefix, empty or ending in `/`. */
  readonly prefix: string;
  stream(key: string): Promise<Readable | undefined>;
  keys(prefix: string): AsyncIterable<string>;
  deleteMany(keys: readonly string[]): Promise<void>;
}

/**
 * Straight to the final key: small uploads in one PUT, others as an S3 multipart upload whose last part may be short. `create` and
 * `resume` ask the store nothing.
 */
export function createS3Multipart(deps: S3MultipartDeps): MultipartStore {
  const { calls, wire, requests, buffers, prefix } = deps;
  // Only a courtesy among the requests of this process; between processes the caller's compare-and-set decides.
  const held = new Set<string>();

  const dropPieces = async (key: string, state: UploadState): Promise<void> => {
    const named = state.pieces.flatMap(({ name }) => (name === undefined ? [] : [pieceKey(key, name)]));
    if (state.tidy) return deps.deleteMany(named);
    let some: string[] = [];
    for await (const found of deps.keys(piecePrefix(key))) {
      some.push(found);
      if (some.length < 1000) continue;
      await deps.deleteMany(some);
      some = [];
    }
    await deps.deleteMany(some);
  };

  async function* uploadsBelow(path: string): AsyncGenerator<{ key: string; id: string; initiated: Date }> {
    let after: { key: string; id: string } | undefined;
    do {
      const page = await requests.run('listUploads', 'listing uploads', () => wire.listUploads(path, after));
      yield* page.uploads;
      after = page.next;
    } while (after !== undefined);
  }

  return {
    exclusive: false,
    async create(key) {
      keyParts(key);
      return encodeState(emptyState(deps.firstPartBytes));
    },
    async resume(key, encoded) {
      const state = decodeState(encoded);
      if (held.has(key)) throw new MultipartBusy('another writer holds this upload');
      held.add(key);
      return createPartWriter({
        calls,
        buffers,
        key,
        state,
        slowMs: deps.slowMs,
        released: () => held.delete(key),
      });
    },
    async complete(key, encoded) {
      const state = decodeState(encoded);
      await assemble(calls, key, state);
      await dropPieces(key, state);
    },
    async abort(key, encoded) {
      const state = decodeState(encoded);
      if (state.upload !== undefined) await calls.drop(key, state.upload);
      await dropPieces(key, state);
      if (state.tidy) return;
      for await (const found of uploadsBelow(prefix + key)) {
        if (found.key === prefix + key) await calls.drop(key, found.id);
      }
    },
    async read(key, encoded) {
      const state = decodeState(encoded);
      if (state.offset === 0) return Readable.from([], { objectMode: false });
      if (state.upload === undefined && !isWhole(state)) {
        const bytes = await calls.readPieces(key, state.pieces);
        if (bytes === undefined) throw new MultipartUnknown('the upload was completed, aborted or reaped');
        return Readable.from([bytes], { objectMode: false });
      }
      // S3 reads nothing of an upload before it is complete. Whoever goes on with it finds it so, and copies within the store.
      await assemble(calls, key, state);
      const body = await deps.stream(key);
      if (body === undefined) throw new MultipartUnknown('the upload was aborted or reaped');
      return body;
    },
    async *incomplete() {
      for await (const { key, id, initiated } of uploadsBelow(prefix)) {
        const own = key.slice(prefix.length);
        const found: IncompleteUpload = { key: own, initiated, abort: () => calls.drop(own, id) };
        yield found;
      }
    },
  };
}
