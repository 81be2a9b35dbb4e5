import { Readable } from 'node:stream';
import type {
  MultipartState,
  MultipartStore,
  ObjectInfo,
  ObjectStore,
} from '../../core/object-store/object-store.ts';
import type { Product } from './product.ts';
import {
  type Answer,
  bodyHash,
  type Call,
  type Entry,
  type MultipartCall,
  multipartKey,
  type PartName,
} from './world.ts';

/** When everything in the store was written, for whoever asks: its clock stands still. */
export const storeTime = Date.UTC(2026, 0, 1);

/** Hands a call to the scheduler; settles when the scheduler lets it happen. */
export type Issue = (call: Call) => Promise<Answer>;

type Page = Extract<Answer, { kind: 'page' }>;

/** An ObjectStore whose every call is one step of the scheduler. */
export function createProxyStore(
  product: Product,
  options: { readonly actor: string; readonly exclusive: boolean },
  issue: Issue,
): ObjectStore {
  const ask = async (call: Call): Promise<Answer> => {
    const answer = await issue(call);
    if (answer.kind !== 'failed') return answer;
    throw new product.objectStore[answer.error](`${call.op} ${call.key}: ${answer.error}`);
  };
  const read = async (op: 'get' | 'head' | 'stream', key: string): Promise<Entry | undefined> => {
    const answer = await ask({ op, key, sig: `${op} ${key}` });
    return answer.kind === 'entry' ? answer.entry : undefined;
  };
  const remove = async (key: string): Promise<void> => {
    await ask({ op: 'delete', key, sig: `delete ${key}` });
  };
  return {
    async get(key, { limit } = {}) {
      const entry = await read('get', key);
      return entry && { ...infoOf(entry), body: Buffer.from(entry.body.subarray(0, limit)) };
    },
    async head(key) {
      const entry = await read('head', key);
      return entry && infoOf(entry);
    },
    async getStream(key, range) {
      const entry = await read('stream', key);
      const body = range === undefined ? entry?.body : entry?.body.subarray(range.start, range.end + 1);
      return entry && { ...infoOf(entry), body: streamOf(body ?? entry.body) };
    },
    async put(key, bytes, { ifMatch, ifNoneMatch } = {}) {
      const body = Buffer.from(bytes);
      const condition = ifMatch ?? (ifNoneMatch === undefined ? '' : 'new');
      const answer = await ask({
        op: 'put',
        key,
        body,
        sig: `put ${key} ${bodyHash(body)} ${condition}`,
        ...(ifMatch === undefined ? {} : { ifMatch }),
        ...(ifNoneMatch === undefined ? {} : { ifNoneMatch: true }),
      });
      if (answer.kind !== 'entry' || answer.entry === undefined) throw new Error('a put without an etag');
      return { etag: answer.entry.etag };
    },
    delete: remove,
    // One request on S3, and yet not one moment.
    async deleteMany(keys) {
      await Promise.all(keys.map(remove));
    },
    async list({ prefix, startAfter = '', limit = 1000, delimiter }) {
      const folded = delimiter !== undefined;
      const sig = `list ${prefix} ${startAfter} ${limit} ${folded}`;
      const answer = (await ask({ op: 'list', key: prefix, startAfter, limit, folded, sig })) as Page;
      return {
        objects: answer.entries.map(({ key, body }) => ({
          key,
          size: body.length,
          modified: new Date(storeTime),
        })),
        prefixes: answer.prefixes,
        ...(answer.next === undefined ? {} : { next: answer.next }),
      };
    },
    // Every acknowledged write is durable here, as on S3.
    syncPrefixes: async () => {},
    presign: async () => undefined,
    multipart: createProxyMultipart(options, ask),
  };
}

function createProxyMultipart(
  { actor, exclusive }: { readonly actor: string; readonly exclusive: boolean },
  ask: Issue,
): MultipartStore {
  let begun = 0;
  let held = 0;
  const send = (
    op: MultipartCall['op'],
    state: MultipartState,
    target: string,
    more: { body?: Buffer; holder?: string } = {},
  ): Promise<Answer> => {
    const key = multipartKey(JSON.stringify(state.id));
    const { body = Buffer.alloc(0), holder = '' } = more;
    const parts = (state.parts ?? []) as readonly PartName[];
    const named = [state.offset, ...parts.map(({ at, etag }) => `${at}:${etag}`)].join();
    const sig = `${op} ${key} ${target} ${named} ${bodyHash(body)} ${holder}`;
    return ask({ op, key, target, offset: state.offset, parts, body, holder, sig });
  };
  return {
    exclusive,
    async create(key) {
      const state = { offset: 0, parts: [], id: `${actor}-${++begun}` };
      await send('create', state, key);
      return state;
    },
    async resume(key, state) {
      const holder = `${actor}-${++held}`;
      await send('resume', state, key, { holder });
      const written: Buffer[] = [];
      let closed = false;
      return {
        async write(chunk) {
          written.push(chunk);
        },
        async checkpoint() {
          const body = Buffer.concat(written);
          await send('append', state, key, { body, holder });
          const part = { at: state.offset, etag: bodyHash(body) };
          const parts = [...((state.parts ?? []) as readonly PartName[]), part];
          return { ...state, parts, offset: state.offset + body.length };
        },
        async close() {
          if (closed) return;
          closed = true;
          await send('close', state, key, { holder });
        },
      };
    },
    async complete(key, state) {
      await send('complete', state, key);
    },
    async abort(key, state) {
      await send('abort', state, key);
    },
    async read(key, state) {
      const answer = await send('read', state, key);
      return streamOf((answer.kind === 'entry' ? answer.entry?.body : undefined) ?? Buffer.alloc(0));
    },
    async *incomplete() {},
  };
}

function infoOf({ body, etag }: Entry): ObjectInfo {
  return { size: body.length, etag, modified: new Date(storeTime) };
}

function streamOf(body: Buffer): Readable {
  return Readable.from(body.length === 0 ? [] : [Buffer.from(body)]);
}
