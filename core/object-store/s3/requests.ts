import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { ObjectStoreFull } from '../object-store.ts';
import { classify, type FailurePlace, mayHeal, readFailure, type S3Failure, toFailure } from './failure.ts';

/** An object's properties as S3 tells them; `etag` without quotes. */
export interface WireInfo {
  readonly size: number;
  readonly etag: string;
  readonly modified: Date;
}

/** The bytes that were asked for; `size` is that of the whole object. */
export interface WireObject extends WireInfo {
  readonly body: Readable;
  /** Bytes that `body` will bring. */
  readonly length: number;
}

export interface WirePut {
  readonly ifNoneMatch?: '*';
  /** As it goes over the wire, with quotes or without. */
  readonly ifMatch?: string;
  /** Bytes of large objects, which may have a storage class of their own. */
  readonly data?: boolean;
  /** Of the body, in hex; default: it is hashed for the signature. */
  readonly sha256?: string;
}

export interface WireListing {
  readonly objects: readonly { key: string; size: number; modified: Date }[];
  readonly prefixes: readonly string[];
  /** Undefined: nothing follows. */
  readonly token: string | undefined;
}

export interface WireUploads {
  readonly uploads: readonly { key: string; id: string; initiated: Date }[];
  readonly next: { readonly key: string; readonly id: string } | undefined;
}

export interface WireParts {
  readonly parts: readonly { number: number; etag: string; size: number }[];
  readonly more: boolean;
}

/**
 * One method for each S3 request that we need: exactly one sending, whatever the library throws. Keys are whole, with the
 * store's prefix. Written over the vendor's library in one place, so that the rest of the driver does not know it.
 */
export interface Wire {
  get(key: string, options: { range?: string; ifMatch?: string }): Promise<WireObject>;
  head(key: string): Promise<WireInfo>;
  put(key: string, body: Uint8Array, options: WirePut): Promise<string>;
  delete(key: string): Promise<void>;
  /** The keys that stay, with the store's code. */
  deleteMany(keys: readonly string[]): Promise<readonly { key: string; code: string }[]>;
  list(options: {
    prefix: string;
    startAfter?: string;
    token?: string;
    limit: number;
    delimiter?: string;
  }): Promise<WireListing>;
  createUpload(key: string): Promise<string>;
  uploadPart(key: string, upload: string, number: number, body: Uint8Array): Promise<string>;
  copyPart(
    key: string,
    upload: string,
    number: number,
    from: { key: string; range: string },
  ): Promise<string>;
  /** `numbers`: of the parts, in order; default 1, 2, 3… */
  completeUpload(
    key: string,
    upload: string,
    etags: readonly string[],
    numbers?: readonly number[],
  ): Promise<void>;
  /** In order, those after number `after`. */
  listParts(key: string, upload: string, after: number): Promise<WireParts>;
  abortUpload(key: string, upload: string): Promise<void>;
  listUploads(prefix: string, after: { key: string; id: string } | undefined): Promise<WireUploads>;
}

export type Operation = keyof Wire;

/** One request, for metrics. */
export interface RequestEvent {
  readonly operation: Operation;
  /** `missing` and `precondition` are answers, not errors. */
  readonly outcome: 'ok' | 'missing' | 'precondition' | 'busy' | 'error';
  /** Until the answer's head. */
  readonly seconds: number;
  /** Of the bodies; of a streamed answer what was announced. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface RetryPolicy {
  /** Sendings of one request, the first included. */
  readonly maxAttempts: number;
  /** Milliseconds before the second sending at most; doubles from one to the next, up to 5 seconds. */
  readonly backoffMs: number;
}

export interface RequestsOptions {
  readonly place: FailurePlace;
  readonly retry: RetryPolicy;
  readonly onRequest?: ((event: RequestEvent) => void) | undefined;
}

/**
 * Sends, counts, turns what goes wrong into S3Failure (or ObjectStoreFull), and sends again what may heal. Requests that must not be
 * sent twice say `once`.
 */
export interface Requests {
  run<T>(
    operation: Operation,
    what: string,
    attempt: () => Promise<T>,
    options?: { readonly once?: boolean; readonly sentBytes?: number },
  ): Promise<T>;
  /** Waits as before a further sending; `failures` counts those so far. */
  readonly pause: (failure: S3Failure, failures: number) => Promise<void>;
  readonly maxAttempts: number;
}

const longestWaitMs = 5_000;

export function createRequests({ place, retry, onRequest }: RequestsOptions): Requests {
  const observe = (
    operation: Operation,
    outcome: RequestEvent['outcome'],
    begun: number,
    bytes: { sent: number; received: number },
  ): void =>
    onRequest?.({
      operation,
      outcome,
      seconds: (performance.now() - begun) / 1000,
      sentBytes: bytes.sent,
      receivedBytes: bytes.received,
    });
  const pause = async (failure: S3Failure, failures: number): Promise<void> => {
    // "Slow down" is obeyed: no second request within a tenth of a second or so.
    const step = failure.kind === 'busy' ? Math.max(200, retry.backoffMs) : retry.backoffMs;
    const most = Math.min(longestWaitMs, step * 2 ** (failures - 1));
    await sleep(most / 2 + (Math.random() * most) / 2);
  };
  return {
    maxAttempts: retry.maxAttempts,
    pause,
    async run(operation, what, attempt, { once = false, sentBytes = 0 } = {}) {
      for (let sent = 1; ; sent++) {
        const begun = performance.now();
        try {
          const result = await attempt();
          observe(operation, 'ok', begun, { sent: sentBytes, received: receivedBytes(result) });
          return result;
        } catch (error) {
          observe(operation, outcomeOf(error), begun, { sent: sentBytes, received: 0 });
          const failure = toFailure(what, place, error);
          if (failure.kind === 'full') throw new ObjectStoreFull(failure.message, { cause: error });
          // A request that came too early or too late was not carried out, and by its answer the library knows the store's time.
          const again = failure.kind === 'skew' || (!once && mayHeal(failure));
          if (!again || sent >= retry.maxAttempts) throw failure;
          await pause(failure, sent);
        }
      }
    },
  };
}

function receivedBytes(result: unknown): number {
  const length = (result as { length?: unknown } | undefined)?.length;
  return typeof result === 'object' && typeof length === 'number' ? length : 0;
}

function outcomeOf(error: unknown): RequestEvent['outcome'] {
  const kind = classify(readFailure(error));
  return kind === 'missing' || kind === 'precondition' || kind === 'busy' ? kind : 'error';
}
