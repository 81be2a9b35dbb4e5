import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Connection } from '../../core/object-store/s3/driver.ts';
import type { Wire } from '../../core/object-store/s3/requests.ts';

export interface MemoryWire extends Connection {
  readonly objects: Map<string, { body: Buffer; etag: string; modified: Date }>;
  readonly uploads: Map<string, { key: string; parts: Map<number, { body: Buffer; etag: string }> }>;
  /** `operation key` of every request so far. */
  readonly log: string[];
  /** Runs before each request: what it throws is the answer, what it awaits is the delay. */
  before: (operation: keyof Wire, key: string) => void | Promise<void>;
  /** Runs after each request was carried out: what it throws is what the client hears. */
  after: (operation: keyof Wire, key: string) => void | Promise<void>;
}

export interface MemoryWireOptions {
  /** All parts but the last must have so many bytes; default 1. */
  readonly minimumPart?: number;
  /** Every part that was sent must be in the list that completes, as Ceph 16 has it; default true. */
  readonly strictParts?: boolean;
}

/** S3's answers from memory, with Ceph's habits where they are stricter than AWS's: bare ETags, no stray parts. */
export function createMemoryWire(options: MemoryWireOptions = {}): MemoryWire {
  const { minimumPart = 1, strictParts = true } = options;
  const objects: MemoryWire['objects'] = new Map();
  const uploads: MemoryWire['uploads'] = new Map();
  const log: string[] = [];
  let counter = 0;
  const find = (key: string) => objects.get(key) ?? refuse('NoSuchKey', 404);
  const uploadOf = (id: string) => uploads.get(id) ?? refuse('NoSuchUpload', 404);
  const store = (key: string, body: Buffer, etag: string): string => {
    objects.set(key, { body, etag, modified: new Date() });
    return etag;
  };
  const cut = (body: Buffer, range: string): Buffer => {
    const [, start = '0', end = ''] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? refuse('InvalidArgument', 400);
    if (Number(start) >= body.length) refuse('InvalidRange', 416);
    return body.subarray(Number(start), end === '' ? body.length : Number(end) + 1);
  };

  const plain: Wire = {
    async get(key, { range }) {
      const { body, etag, modified } = find(key);
      const part = range === undefined ? body : cut(body, range);
      return { size: body.length, length: part.length, etag, modified, body: Readable.from([part]) };
    },
    async head(key) {
      const { body, etag, modified } = find(key);
      return { size: body.length, etag, modified };
    },
    async put(key, bytes, { ifNoneMatch, ifMatch, sha256 }) {
      const signed = createHash('sha256').update(bytes).digest('hex');
      if (sha256 !== undefined && sha256 !== signed) refuse('XAmzContentSHA256Mismatch', 400);
      const there = objects.get(key);
      if (ifNoneMatch !== undefined && there !== undefined) refuse('PreconditionFailed', 412);
      if (ifMatch !== undefined && there?.etag !== ifMatch) refuse('PreconditionFailed', 412);
      const body = Buffer.from(bytes);
      return store(key, body, md5(body));
    },
    async delete(key) {
      objects.delete(key);
    },
    async deleteMany(keys) {
      for (const key of keys) objects.delete(key);
      return [];
    },
    async list({ prefix, startAfter = '', token = '', limit }) {
      const after = token === '' ? startAfter : token;
      const found = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
      const page = found.slice(0, limit);
      return {
        objects: page.map((key) => ({ key, size: find(key).body.length, modified: find(key).modified })),
        prefixes: [],
        token: found.length > limit ? page.at(-1) : undefined,
      };
    },
    async createUpload(key) {
      const id = `upload-${++counter}`;
      uploads.set(id, { key, parts: new Map() });
      return id;
    },
    async uploadPart(_key, id, number, bytes) {
      const body = Buffer.from(bytes);
      uploadOf(id).parts.set(number, { body, etag: md5(body) });
      return md5(body);
    },
    async copyPart(_key, id, number, from) {
      const body = Buffer.from(cut(find(from.key).body, from.range));
      uploadOf(id).parts.set(number, { body, etag: md5(body) });
      return md5(body);
    },
    async completeUpload(key, id, etags, numbers) {
      const { parts } = uploadOf(id);
      if (etags.length === 0) refuse('MalformedXML', 400);
      if (strictParts && parts.size !== etags.length) refuse('InvalidPart', 400);
      const bodies = etags.map((etag, index) => {
        const part = parts.get(numbers?.[index] ?? index + 1);
        if (part?.etag !== etag) refuse('InvalidPart', 400);
        return part?.body ?? Buffer.alloc(0);
      });
      if (bodies.slice(0, -1).some((body) => body.length < minimumPart)) refuse('EntityTooSmall', 400);
      store(key, Buffer.concat(bodies), `${md5(Buffer.from(etags.join('')))}-${etags.length}`);
      uploads.delete(id);
    },
    async listParts(_key, id, after) {
      const parts = [...uploadOf(id).parts]
        .map(([number, { body, etag }]) => ({ number, etag, size: body.length }))
        .filter(({ number }) => number > after)
        .toSorted((a, b) => a.number - b.number);
      return { parts, more: false };
    },
    async abortUpload(_key, id) {
      uploadOf(id);
      uploads.delete(id);
    },
    async listUploads(prefix) {
      const found = [...uploads].filter(([, { key }]) => key.startsWith(prefix));
      return { uploads: found.map(([id, { key }]) => ({ key, id, initiated: new Date() })), next: undefined };
    },
  };

  const memory: MemoryWire = {
    objects,
    uploads,
    log,
    before() {},
    after() {},
    wire: Object.fromEntries(
      Object.entries(plain).map(([name, method]) => [
        name,
        async (...args: unknown[]) => {
          const operation = name as keyof Wire;
          const key = typeof args[0] === 'string' ? args[0] : '';
          log.push(`${operation} ${key}`);
          await memory.before(operation, key);
          const result = await (method as (...all: unknown[]) => Promise<unknown>)(...args);
          await memory.after(operation, key);
          return result;
        },
      ]),
    ) as unknown as Wire,
    clockOffsetMs: () => 0,
    signing: async () => ({
      base: 'http://memory.invalid/bucket',
      region: 'r',
      credentials: { accessKeyId: 'a', secretAccessKey: 's' },
    }),
    close() {},
  };
  return memory;
}

/** As the vendor's library throws it. */
export function s3Error(name: string, httpStatusCode: number): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode } });
}

function refuse(name: string, httpStatusCode: number): never {
  throw s3Error(name, httpStatusCode);
}

function md5(body: Buffer): string {
  return createHash('md5').update(body).digest('hex');
}
