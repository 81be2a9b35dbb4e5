import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { MultipartUnknown } from '../object-store.ts';
import { isFailure, S3Failure } from './failure.ts';
import { type Piece, pieceKey, type UploadState } from './multipart-state.ts';
import type { Requests, Wire, WireParts } from './requests.ts';

export interface UploadCallsDeps {
  readonly wire: Wire;
  readonly requests: Requests;
  /** The whole key, with the store's prefix. */
  readonly locate: (key: string) => string;
}

/** The requests that uploads are made of. Keys are the caller's, without the store's prefix. */
export interface UploadCalls {
  putPiece(key: string, body: Uint8Array): Promise<Piece>;
  /** Undefined: one of them is gone. */
  readPieces(key: string, pieces: readonly Piece[]): Promise<Buffer | undefined>;
  /**
   * Writes the upload's own object in one request, unless something else is there: false then. The same bytes under the key
   * are as good as having written them. `sha256`: of the body, in hex, where it is known.
   */
  putWhole(key: string, body: Uint8Array, sha256?: string): Promise<boolean>;
  /** Writes the upload's own object in one request, over whatever is there. */
  replaceWhole(key: string, body: Uint8Array): Promise<void>;
  /** Bytes of the upload's own object; undefined = there is none. */
  sizeOf(key: string): Promise<number | undefined>;
  begin(key: string): Promise<string>;
  /** The ETag. Errors: S3Failure `noUpload`. */
  sendPart(key: string, upload: string, number: number, body: Uint8Array): Promise<string>;
  /** Errors: S3Failure `noUpload`; MultipartUnknown when somebody replaced a part. */
  finish(key: string, upload: string, etags: readonly string[]): Promise<void>;
  /** There are parts with a number above `count`. Errors: S3Failure `noUpload`. */
  hasMore(key: string, upload: string, count: number): Promise<boolean>;
  /** No error when it is gone. */
  drop(key: string, upload: string): Promise<void>;
  /** A new upload whose first parts are the state's full ones, copied within the store from the upload's own object. */
  rebuild(key: string, state: UploadState): Promise<{ upload: string; etags: string[] }>;
}

const copiesAtOnce = 8;

/** Bytes of an object that become a part. */
interface CopyRange {
  readonly number: number;
  readonly start: number;
  readonly bytes: number;
}

export function createUploadCalls({ wire, requests, locate }: UploadCallsDeps): UploadCalls {
  const readRange = async (path: string, { start, bytes }: Piece): Promise<Buffer | undefined> => {
    try {
      return await requests.run('get', 'reading an upload', async () => {
        const range = `bytes=${start}-${start + bytes - 1}`;
        const object = await wire.get(path, { range });
        const body = await buffer(object.body);
        // Whatever ended it: a body of another length is no answer.
        if (body.length !== bytes) throw new Error(`the store sent ${body.length} of ${bytes} bytes`);
        return body;
      });
    } catch (error) {
      if (isFailure(error, 'missing', 'range')) return undefined;
      throw error;
    }
  };
  const calls: UploadCalls = {
    async putPiece(key, body) {
      const name = randomUUID();
      const path = locate(pieceKey(key, name));
      await requests.run('put', 'writing an upload', () => wire.put(path, body, {}), {
        sentBytes: body.length,
      });
      return { name, start: 0, bytes: body.length };
    },
    async readPieces(key, pieces) {
      const bodies: Buffer[] = [];
      for (let at = 0; at < pieces.length; at += copiesAtOnce) {
        const some = await Promise.all(
          pieces
            .slice(at, at + copiesAtOnce)
            .map((piece) =>
              readRange(locate(piece.name === undefined ? key : pieceKey(key, piece.name)), piece),
            ),
        );
        for (const body of some) {
          if (body === undefined) return undefined;
          bodies.push(body);
        }
      }
      const [only] = bodies;
      return bodies.length === 1 && only !== undefined ? only : Buffer.concat(bodies);
    },
    async putWhole(key, body, sha256) {
      try {
        await requests.run(
          'put',
          'writing an upload',
          () =>
            wire.put(locate(key), body, {
              ifNoneMatch: '*',
              data: true,
              ...(sha256 === undefined ? {} : { sha256 }),
            }),
          { sentBytes: body.length },
        );
        return true;
      } catch (error) {
        if (!isFailure(error, 'precondition')) throw error;
      }
      // An earlier sending of ours whose answer was lost, an earlier writer's same bytes, or another writer's.
      const there = await wireHead(key);
      if (there?.size !== body.length) return false;
      const same = await readRange(locate(key), { start: 0, bytes: body.length });
      return same?.equals(body) === true;
    },
    async replaceWhole(key, body) {
      await requests.run('put', 'completing an upload', () => wire.put(locate(key), body, { data: true }), {
        sentBytes: body.length,
      });
    },
    sizeOf: async (key) => (await wireHead(key))?.size,
    begin: (key) => requests.run('createUpload', 'beginning an upload', () => wire.createUpload(locate(key))),
    sendPart: (key, upload, number, body) =>
      requests.run(
        'uploadPart',
        'writing an upload',
        () => wire.uploadPart(locate(key), upload, number, body),
        { sentBytes: body.length },
      ),
    async finish(key, upload, etags) {
      try {
        await requests.run('completeUpload', 'completing an upload', () =>
          wire.completeUpload(locate(key), upload, etags),
        );
      } catch (error) {
        if (isFailure(error, 'badPart')) return finishAmongOthers(key, upload, etags, error);
        // Ceph says "already in progress" for ever where an upload was completed and something else is there by now.
        if (isFailure(error, 'transient')) await calls.hasMore(key, upload, etags.length);
        throw error;
      }
    },
    async hasMore(key, upload, count) {
      return (await partsAfter(locate(key), upload, count)).parts.length > 0;
    },
    async drop(key, upload) {
      try {
        await requests.run('abortUpload', 'dropping an upload', () => wire.abortUpload(locate(key), upload));
      } catch (error) {
        if (!isFailure(error, 'noUpload', 'missing')) throw error;
      }
    },
    rebuild(key, { plan, etags, short }) {
      const full = short === undefined ? etags.length : etags.length - 1;
      const ranges = Array.from({ length: full }, (_, index) => ({
        number: index + 1,
        start: plan.start(index + 1),
        bytes: plan.size(index + 1),
      }));
      return copied(key, ranges);
    },
  };
  /**
   * Ceph completes only with all the parts that it has, and a writer that died may have sent more than anybody knows of. So all of them
   * become the object, and another upload is made of copies of those that count.
   */
  const finishAmongOthers = async (
    key: string,
    upload: string,
    etags: readonly string[],
    cause: unknown,
  ): Promise<void> => {
    const path = locate(key);
    const parts = await partsOf(path, upload);
    const unchanged = etags.every(
      (etag, index) => parts[index]?.number === index + 1 && parts[index].etag === etag,
    );
    if (!unchanged || parts.length === etags.length || etags.length === 0) {
      throw new MultipartUnknown('another writer replaced parts of the upload', { cause });
    }
    await requests.run('completeUpload', 'completing an upload', () =>
      wire.completeUpload(
        path,
        upload,
        parts.map(({ etag }) => etag),
        parts.map(({ number }) => number),
      ),
    );
    const ranges: CopyRange[] = [];
    for (const { number, size } of parts.slice(0, etags.length)) {
      const before = ranges.at(-1);
      const start = before === undefined ? 0 : before.start + before.bytes;
      ranges.push({ number, start, bytes: size });
    }
    const cut = await copied(key, ranges);
    await requests.run('completeUpload', 'completing an upload', () =>
      wire.completeUpload(path, cut.upload, cut.etags),
    );
  };
  const partsAfter = async (path: string, upload: string, after: number): Promise<WireParts> => {
    try {
      return await requests.run('listParts', 'looking at an upload', () =>
        wire.listParts(path, upload, after),
      );
    } catch (error) {
      // Ceph's word for an upload that is gone is that of an object.
      if (!isFailure(error, 'missing')) throw error;
      throw new S3Failure('noUpload', 'NoSuchUpload', 'the upload is gone', { cause: error });
    }
  };
  const partsOf = async (path: string, upload: string) => {
    const parts: { number: number; etag: string; size: number }[] = [];
    for (;;) {
      const page = await partsAfter(path, upload, parts.at(-1)?.number ?? 0);
      parts.push(...page.parts);
      if (!page.more) return parts;
    }
  };
  /** A new upload of parts that are copied from the upload's own object. */
  const copied = async (
    key: string,
    ranges: readonly CopyRange[],
  ): Promise<{ upload: string; etags: string[] }> => {
    const path = locate(key);
    const upload = await calls.begin(key);
    try {
      const etags: string[] = [];
      for (let done = 0; done < ranges.length; done += copiesAtOnce) {
        const some = ranges.slice(done, done + copiesAtOnce).map(({ number, start, bytes }) => {
          const from = { key: path, range: `bytes=${start}-${start + bytes - 1}` };
          return requests.run('copyPart', 'going on with an upload', () =>
            wire.copyPart(path, upload, number, from),
          );
        });
        etags.push(...(await Promise.all(some)));
      }
      return { upload, etags };
    } catch (error) {
      await calls.drop(key, upload);
      throw error;
    }
  };
  const wireHead = async (key: string) => {
    try {
      return await requests.run('head', 'looking at an upload', () => wire.head(locate(key)));
    } catch (error) {
      if (isFailure(error, 'missing')) return undefined;
      throw error;
    }
  };
  return calls;
}
