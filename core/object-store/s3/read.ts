import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  type ObjectInfo,
  RangeNotSatisfiable,
  type StoredObject,
  type StoredStream,
} from '../object-store.ts';
import { type FailurePlace, isFailure, mayHeal, type S3Failure, toFailure } from './failure.ts';
import type { Requests, Wire, WireObject } from './requests.ts';

export interface S3ReaderDeps {
  readonly wire: Wire;
  readonly requests: Requests;
  readonly place: FailurePlace;
  readonly locate: (key: string) => string;
  /** Told of the bytes of streams as they come. */
  readonly arrived: (bytes: number) => void;
}

export interface S3Reader {
  get(key: string, options?: { limit?: number }): Promise<StoredObject | undefined>;
  getStream(key: string, range?: { start: number; end: number }): Promise<StoredStream | undefined>;
  head(key: string): Promise<ObjectInfo | undefined>;
}

export function createS3Reader({ wire, requests, place, locate, arrived }: S3ReaderDeps): S3Reader {
  const head = async (key: string): Promise<ObjectInfo | undefined> => {
    const path = locate(key);
    try {
      return await requests.run('head', `looking at ${key}`, () => wire.head(path));
    } catch (error) {
      if (!isFailure(error, 'missing')) throw error;
    }
    // The answer to HEAD has no body, so a bucket that is gone looks like a key that is not there. A GET tells them apart.
    const found = await whole(key, 1);
    return found === undefined ? undefined : info(found);
  };
  const whole = async (key: string, limit: number | undefined): Promise<StoredObject | undefined> => {
    const path = locate(key);
    try {
      return await requests.run('get', `reading ${key}`, async () => {
        const range = limit === undefined ? {} : { range: `bytes=0-${Math.max(1, limit) - 1}` };
        const object = await wire.get(path, range);
        const body = await collect(object);
        return {
          ...info(object),
          body: limit === undefined ? body : body.subarray(0, limit),
          length: body.length,
        };
      });
    } catch (error) {
      if (isFailure(error, 'missing')) return undefined;
      // An empty object has no first byte.
      if (isFailure(error, 'range') && limit !== undefined) return whole(key, undefined);
      throw error;
    }
  };
  return {
    head,
    get: (key, { limit } = {}) => whole(key, limit),
    async getStream(key, range) {
      const path = locate(key);
      const possible = range === undefined || (range.start >= 0 && range.end >= range.start);
      try {
        if (!possible) {
          const found = await head(key);
          if (found === undefined) return undefined;
          throw new RangeNotSatisfiable(found.size);
        }
        const open = (from: number, etag?: string): Promise<WireObject> =>
          requests.run('get', `reading ${key}`, () =>
            wire.get(path, {
              ...(from === 0 && range === undefined ? {} : { range: `bytes=${from}-${range?.end ?? ''}` }),
              ...(etag === undefined ? {} : { ifMatch: etag }),
            }),
          );
        const from = range?.start ?? 0;
        const first = await open(from);
        const body = createResumingStream({
          first,
          reopen: (done) => open(from + done, `"${first.etag}"`),
          fail: (error) => toFailure(`reading ${key}`, place, error),
          pause: requests.pause,
          maxAttempts: requests.maxAttempts,
          arrived,
        });
        return { ...info(first), body };
      } catch (error) {
        if (isFailure(error, 'missing')) return undefined;
        if (!isFailure(error, 'range')) throw error;
        const found = await head(key);
        if (found === undefined) return undefined;
        throw new RangeNotSatisfiable(found.size);
      }
    },
  };
}

function info({ size, etag, modified }: ObjectInfo): ObjectInfo {
  return { size, etag, modified };
}

/** Errors: when the body is not as long as the store said. */
async function collect({ body, length }: WireObject): Promise<Buffer> {
  const bytes = await buffer(body);
  if (bytes.length !== length) throw new Error(`the store sent ${bytes.length} of ${length} bytes`);
  return bytes;
}

interface ResumingOptions {
  readonly first: WireObject;
  /** The rest behind the first `done` bytes. */
  readonly reopen: (done: number) => Promise<WireObject>;
  readonly fail: (error: unknown) => S3Failure;
  readonly pause: (failure: S3Failure, failures: number) => Promise<void>;
  readonly maxAttempts: number;
  readonly arrived: (bytes: number) => void;
}

/** Held for a slow reader. Each time it is full the store's socket stops and starts again. */
const streamBytes = 512 * 1024;

/**
 * A body that goes on after a connection broke, as the same version of the object, and ends with an error rather than short. A reader
 * that pauses for long costs no socket: the store hangs up, and the rest is asked for once he goes on.
 */
function createResumingStream({
  first,
  reopen,
  fail,
  pause,
  maxAttempts,
  arrived,
}: ResumingOptions): Readable {
  let source = first.body;
  let received = 0;
  let failures = 0;
  const attach = (stream: Readable, body: Readable): void => {
    source = stream;
    let over = false;
    const end = (error?: Error | null): void => {
      if (over) return;
      over = true;
      if (received === first.length && !error) body.push(null);
      else void goOn(body, error ?? new Error(`the store sent ${received} of ${first.length} bytes`));
    };
    stream.on('data', (chunk: Buffer) => {
      if (over) return;
      received += chunk.length;
      arrived(chunk.length);
      if (chunk.length > 0) failures = 0;
      if (received > first.length) {
        over = true;
        body.destroy(fail(new Error('the store sent more than it said')));
      } else if (!body.push(chunk)) stream.pause();
    });
    stream.on('end', () => end());
    stream.on('error', end);
    stream.on('close', () => end());
  };
  const goOn = async (body: Readable, error: Error): Promise<void> => {
    source.destroy();
    if (body.destroyed) return;
    if (received === first.length) {
      body.push(null);
      return;
    }
    const failure = fail(error);
    failures++;
    try {
      if (failures >= maxAttempts || !mayHeal(failure)) throw failure;
      await pause(failure, failures);
      const next = await reopen(received);
      if (body.destroyed) next.body.destroy();
      else attach(next.body, body);
    } catch (cause) {
      body.destroy(cause as Error);
    }
  };
  const body = new Readable({
    highWaterMark: streamBytes,
    read() {
      source.resume();
    },
    destroy(error, done) {
      source.destroy();
      done(error);
    },
  });
  source.pause();
  attach(source, body);
  source.pause();
  return body;
}
