import { createBodyCollection } from '../../body-collection.ts';
import { createByteBudget } from '../byte-budget.ts';
import { keyParts } from '../key.ts';
import type { ObjectStore } from '../object-store.ts';
import { conditionalPut } from './conditional-put.ts';
import { createEtagSpeller, type EtagSpelling } from './etag-spelling.ts';
import { type FailurePlace, isFailure, S3Failure } from './failure.ts';
import { listPage } from './list.ts';
import { createS3Multipart } from './multipart.ts';
import { createPartBuffers } from './part-buffers.ts';
import { firstMemoryBytes } from './part-memory.ts';
import { type Credentials, presignUrl } from './presign.ts';
import { createS3Reader } from './read.ts';
import { createRequests, type RequestEvent, type Wire } from './requests.ts';
import { createUploadCalls } from './upload-calls.ts';

export interface S3Store extends ObjectStore {
  /** `s3://bucket/prefix`, for people. */
  readonly address: string;
  /** How the store wants ETags in `If-Match`; undefined as long as no such write went through. */
  readonly etagSpelling: EtagSpelling | undefined;
  /** Milliseconds that the store's clock is ahead of ours, as far as it is more than some minutes; 0 before the first answer. */
  readonly clockOffsetMs: number;
  /** Ends idle connections. Calls under way must have ended. */
  close(): void;
}

/** A client of one bucket. */
export interface Connection {
  readonly wire: Wire;
  /** Milliseconds that the store's clock is ahead of ours. */
  clockOffsetMs(): number;
  /** What addresses for clients are made of. */
  signing(): Promise<{ base: string; region: string; credentials: Credentials }>;
  close(): void;
}

/** What does not depend on how the store is reached. */
export interface S3DriverOptions {
  readonly bucket: string;
  /** Default: AWS. */
  readonly endpoint?: string | undefined;
  /** All keys begin with it; several stores may share a bucket. At most 128 characters. */
  readonly prefix?: string | undefined;
  /** Sendings of one request, the first included; default 5. Compare-and-set writes are sent once. */
  readonly maxAttempts?: number | undefined;
  /** Milliseconds before a second sending at most; default 50. */
  readonly backoffMs?: number | undefined;
  /** Bytes of memory for the parts of all uploads of this process; default 256 MiB. */
  readonly uploadBufferBytes?: number | undefined;
  /** Bytes of an upload's first part, at least 5 MiB on most stores; default 16 MiB. */
  readonly firstPartBytes?: number | undefined;
  /** Milliseconds that a part may take to fill while others wait for memory; default 2,000. */
  readonly slowMs?: number | undefined;
  /** Told of every request, for metrics. */
  readonly onRequest?: ((event: RequestEvent) => void) | undefined;
}

const mib = 1024 * 1024;

/** The object store over any connection. */
export function createS3Driver(options: S3DriverOptions, connection: Connection): S3Store {
  const prefix = normalizePrefix(options.prefix ?? '');
  const address = `s3://${options.bucket}/${prefix}`;
  const place: FailurePlace = { store: address, bucket: options.bucket, endpoint: options.endpoint };
  const { wire } = connection;
  const requests = createRequests({
    place,
    retry: { maxAttempts: options.maxAttempts ?? 5, backoffMs: options.backoffMs ?? 50 },
    onRequest: options.onRequest,
  });
  const speller = createEtagSpeller();
  const locate = (key: string): string => prefix + checked(key);
  const reader = createS3Reader({ wire, requests, place, locate, arrived: createBodyCollection() });
  const total = options.uploadBufferBytes ?? 256 * mib;
  const firstPartBytes = options.firstPartBytes ?? 16 * mib;

  async function deleteMany(keys: readonly string[]): Promise<void> {
    const paths = keys.map(locate);
    for (let at = 0; at < paths.length; at += 1000) {
      const some = paths.slice(at, at + 1000);
      await requests.run('deleteMany', 'deleting', async () => {
        const failed = (await wire.deleteMany(some)).filter(({ code }) => code !== 'NoSuchKey');
        const [first] = failed;
        if (first === undefined) return;
        const kind = first.code === 'AccessDenied' ? 'refused' : 'transient';
        throw new S3Failure(kind, first.code, `${failed.length} keys could not be deleted: ${first.code}`);
      });
    }
  }
  async function* keysBelow(below: string): AsyncGenerator<string> {
    let startAfter: string | undefined;
    do {
      const page = await listPage(
        { wire, requests, prefix },
        { prefix: below, ...(startAfter === undefined ? {} : { startAfter }) },
      );
      for (const { key } of page.objects) yield key;
      startAfter = page.next;
    } while (startAfter !== undefined);
  }

  return {
    address,
    ...reader,
    get etagSpelling() {
      return speller.known;
    },
    get clockOffsetMs() {
      return connection.clockOffsetMs();
    },
    put: async (key, body, condition = {}) =>
      conditionalPut({ wire, requests, speller }, locate(key), body, condition),
    async delete(key) {
      const path = locate(key);
      try {
        await requests.run('delete', `deleting ${key}`, () => wire.delete(path));
      } catch (error) {
        if (!isFailure(error, 'missing')) throw error;
      }
    },
    deleteMany,
    list: (listing) => listPage({ wire, requests, prefix }, listing),
    syncPrefixes: async () => {},
    async presign(key, { method, expiresInSeconds, contentType }) {
      const path = locate(key);
      const { base, region, credentials } = await connection.signing();
      const now = new Date(Date.now() + connection.clockOffsetMs());
      return presignUrl({ method, base, key: path, region, credentials, now, expiresInSeconds, contentType });
    },
    multipart: createS3Multipart({
      calls: createUploadCalls({ wire, requests, locate }),
      wire,
      requests,
      buffers: createPartBuffers(createByteBudget(total), total, [firstMemoryBytes, firstPartBytes]),
      firstPartBytes,
      slowMs: options.slowMs ?? 2_000,
      prefix,
      stream: async (key) => (await reader.getStream(key))?.body,
      keys: keysBelow,
      deleteMany,
    }),
    close: () => connection.close(),
  };
}

function checked(key: string): string {
  keyParts(key);
  return key;
}

function normalizePrefix(prefix: string): string {
  const parts = prefix.split('/').filter((part) => part !== '');
  return parts.length === 0 ? '' : `${keyParts(parts.join('/')).join('/')}/`;
}
