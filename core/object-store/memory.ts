import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { keyParts, toByteString } from './key.ts';
import {
  type ListedObject,
  type ListOptions,
  type ListPage,
  MultipartBusy,
  type MultipartState,
  type MultipartStore,
  MultipartUnknown,
  type ObjectInfo,
  type ObjectStore,
  PreconditionFailed,
  RangeNotSatisfiable,
} from './object-store.ts';

interface Entry extends ObjectInfo {
  readonly key: string;
  readonly body: Buffer;
}

/** For tests and trials: all of it is gone with the process. */
export function createMemoryStore(): ObjectStore {
  // By byte string, whose order is the order of listings.
  const entries = new Map<string, Entry>();
  let version = 0;
  const find = (key: string): Entry | undefined => entries.get(keyParts(key).join('/'));
  const store = (key: string, body: Buffer): Entry => {
    const entry = { key, body, size: body.length, etag: `m${++version}`, modified: new Date() };
    entries.set(keyParts(key).join('/'), entry);
    return entry;
  };
  return {
    async getStream(key, range) {
      const entry = find(key);
      if (entry === undefined) return undefined;
      if (
        range !== undefined &&
        !(range.start >= 0 && range.start < entry.size && range.end >= range.start)
      ) {
        throw new RangeNotSatisfiable(entry.size);
      }
      const body = range === undefined ? entry.body : entry.body.subarray(range.start, range.end + 1);
      return { ...info(entry), body: streamOf(body) };
    },
    async get(key, { limit } = {}) {
      const entry = find(key);
      return entry && { ...info(entry), body: Buffer.from(entry.body.subarray(0, limit)) };
    },
    async head(key) {
      const entry = find(key);
      return entry && info(entry);
    },
    async put(key, body, { ifNoneMatch, ifMatch } = {}) {
      const entry = find(key);
      if (ifNoneMatch !== undefined && entry !== undefined) {
        throw new PreconditionFailed('an object is there');
      }
      if (ifMatch !== undefined && entry?.etag !== ifMatch) {
        throw new PreconditionFailed('the object is another version by now');
      }
      return { etag: store(key, Buffer.from(body)).etag };
    },
    async delete(key) {
      entries.delete(keyParts(key).join('/'));
    },
    async deleteMany(keys) {
      for (const key of keys) entries.delete(keyParts(key).join('/'));
    },
    list: async (options) => listEntries(entries, options),
    syncPrefixes: async () => {},
    presign: async () => undefined,
    multipart: createMemoryMultipart(store, find),
  };
}

function info({ size, etag, modified }: Entry): ObjectInfo {
  return { size, etag, modified };
}

function idOf({ id }: MultipartState): string {
  return typeof id === 'string' ? id : '';
}

function streamOf(body: Buffer): Readable {
  return Readable.from(body.length === 0 ? [] : [Buffer.from(body)]);
}

function listEntries(entries: ReadonlyMap<string, Entry>, options: ListOptions): ListPage {
  const limit = Math.min(options.limit ?? 1000, 1000);
  const prefix = toByteString(options.prefix);
  const after = toByteString(options.startAfter ?? '');
  const objects: ListedObject[] = [];
  const prefixes: string[] = [];
  let last: string | undefined;
  for (const bytes of [...entries.keys()].filter((key) => key.startsWith(prefix)).sort()) {
    const entry = entries.get(bytes);
    if (entry === undefined) continue;
    const slash = options.delimiter === undefined ? -1 : bytes.indexOf('/', prefix.length);
    const name = slash === -1 ? bytes : bytes.slice(0, slash + 1);
    const text = slash === -1 ? entry.key : Buffer.from(name, 'latin1').toString();
    if (name <= after || text === last) continue;
    if (objects.length + prefixes.length >= limit) {
      return last === undefined ? { objects, prefixes } : { objects, prefixes, next: last };
    }
    if (slash === -1) objects.push({ key: entry.key, size: entry.size, modified: entry.modified });
    else prefixes.push(text);
    last = text;
  }
  return { objects, prefixes };
}

function createMemoryMultipart(
  store: (key: string, body: Buffer) => Entry,
  find: (key: string) => Entry | undefined,
): MultipartStore {
  const uploads = new Map<string, { chunks: Buffer[]; size: number; busy: boolean }>();
  const upload = (state: MultipartState) => {
    const found = uploads.get(idOf(state));
    if (found === undefined || found.size < state.offset) {
      throw new MultipartUnknown('the upload was completed or aborted');
    }
    return found;
  };
  const bytes = (state: MultipartState): Buffer =>
    Buffer.concat(upload(state).chunks).subarray(0, state.offset);
  return {
    exclusive: true,
    async create(key) {
      keyParts(key);
      const id = randomUUID();
      uploads.set(id, { chunks: [], size: 0, busy: false });
      return { offset: 0, id };
    },
    async resume(_key, state) {
      const held = upload(state);
      if (held.busy) throw new MultipartBusy('another writer holds this upload');
      held.busy = true;
      let begun = false;
      let closed = false;
      const check = (): void => {
        if (closed) throw new Error('this writer is closed');
      };
      return {
        async write(chunk) {
          check();
          if (!begun) {
            held.chunks = [bytes(state)];
            held.size = state.offset;
            begun = true;
          }
          held.chunks.push(chunk);
          held.size += chunk.length;
        },
        async checkpoint() {
          check();
          return { ...state, offset: begun ? held.size : state.offset };
        },
        async close() {
          if (!closed) held.busy = false;
          closed = true;
        },
      };
    },
    async complete(key, state) {
      if (!uploads.has(idOf(state)) && find(key)?.size === state.offset) return;
      if (upload(state).busy) throw new MultipartBusy('another writer holds this upload');
      store(key, Buffer.from(bytes(state)));
      uploads.delete(idOf(state));
    },
    async abort(_key, state) {
      uploads.delete(idOf(state));
    },
    read: async (_key, state) => streamOf(bytes(state)),
    async *incomplete() {},
  };
}
