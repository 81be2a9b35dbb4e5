import { createHash } from 'node:crypto';

/**
 * The store's content as immutable states. Equal content is the same `StoreState` object, whatever way led there: that is what
 * lets the explorer recognise a situation. As on S3 an etag is a hash of the body and nothing else, so a record that is written
 * again without a fresh nonce has its old etag again. The store's clock stands still.
 */
export interface Entry {
  readonly id: number;
  readonly key: string;
  readonly body: Buffer;
  readonly etag: string;
}

export interface StoreState {
  readonly id: number;
  /** By key, in byte order. */
  readonly entries: ReadonlyMap<string, Entry>;
}

/** One call of the store. `sig` says everything about it: equal calls on equal states have equal results. */
export type Call =
  | { readonly op: 'get' | 'head' | 'stream'; readonly key: string; readonly sig: string }
  | {
      readonly op: 'list';
      readonly key: string;
      readonly startAfter: string;
      readonly limit: number;
      readonly folded: boolean;
      readonly sig: string;
    }
  | {
      readonly op: 'put';
      readonly key: string;
      readonly body: Buffer;
      readonly ifMatch?: string;
      readonly ifNoneMatch?: boolean;
      readonly sig: string;
    }
  | { readonly op: 'delete'; readonly key: string; readonly sig: string }
  | MultipartCall
  /** The actor waits: others may go first. */
  | { readonly op: 'wait'; readonly key: ''; readonly sig: string };

/** Bytes on their way to `target`; `key` is where the world keeps them, see `multipartKey`. */
export interface MultipartCall {
  readonly op: 'create' | 'resume' | 'append' | 'close' | 'complete' | 'abort' | 'read';
  readonly key: string;
  readonly target: string;
  readonly offset: number;
  /** What the bytes up to `offset` are, as the caller remembers them. */
  readonly parts: readonly PartName[];
  readonly body: Buffer;
  readonly holder: string;
  readonly sig: string;
}

export interface PartName {
  readonly at: number;
  readonly etag: string;
  readonly [name: string]: string | number;
}

export type Answer =
  | { readonly kind: 'done'; readonly sig: string }
  | { readonly kind: 'entry'; readonly entry: Entry | undefined; readonly sig: string }
  | {
      readonly kind: 'page';
      readonly entries: readonly Entry[];
      readonly prefixes: readonly string[];
      readonly next: string | undefined;
      readonly sig: string;
    }
  | { readonly kind: 'failed'; readonly error: FailureName; readonly sig: string };

export type FailureName =
  | 'PreconditionFailed'
  | 'ObjectStoreUnavailable'
  | 'MultipartUnknown'
  | 'MultipartBusy';

export interface Outcome {
  readonly state: StoreState;
  readonly answer: Answer;
}

export interface World {
  /** One writer of an upload at a time. */
  readonly exclusive: boolean;
  readonly empty: StoreState;
  apply(state: StoreState, call: Call): Outcome;
}

/** Uploads lie beside the objects, where no listing sees them. */
export function multipartKey(id: string): string {
  return `\0multipart/${id}`;
}

export function isObject(key: string): boolean {
  return key.charCodeAt(0) !== 0;
}

export function isWrite(call: Call): boolean {
  return (
    call.op !== 'get' &&
    call.op !== 'head' &&
    call.op !== 'stream' &&
    call.op !== 'list' &&
    call.op !== 'wait' &&
    call.op !== 'read'
  );
}

/** Keys that the call changes when it succeeds. */
export function writtenKeys(call: Call): readonly string[] {
  if (!isWrite(call)) return [];
  return call.op === 'complete' ? [call.key, call.target] : [call.key];
}

export function bodyHash(body: Uint8Array): string {
  return createHash('sha1').update(body).digest('base64url').slice(0, 12);
}

const done: Answer = { kind: 'done', sig: 'ok' };

export function failed(error: FailureName): Answer {
  return { kind: 'failed', error, sig: `!${error}` };
}

export interface WorldOptions {
  /** The most that one LIST gives, where a test wants page boundaries between few keys. */
  readonly pageSize?: number;
  /** Default 'locked', as on files; 'open' as on S3. */
  readonly uploads?: 'locked' | 'open';
}

const nothing = Buffer.alloc(0);

export function createWorld(options: WorldOptions = {}): World {
  const entries = new Map<string, Entry>();
  const states = new Map<string, StoreState>();
  const results = new Map<string, Map<string, Outcome>>();

  function entryOf(key: string, body: Buffer, etag: string): Entry {
    const name = `${key}\n${etag}`;
    const known = entries.get(name);
    if (known !== undefined) return known;
    const entry = { id: entries.size, key, body, etag };
    entries.set(name, entry);
    return entry;
  }

  function stateOf(content: ReadonlyMap<string, Entry>): StoreState {
    const sorted = [...content].sort(([a], [b]) => (a < b ? -1 : 1));
    const name = sorted.map(([, { id }]) => id).join(',');
    const known = states.get(name);
    if (known !== undefined) return known;
    const state = { id: states.size, entries: new Map(sorted) };
    states.set(name, state);
    return state;
  }

  function withEntry(state: StoreState, key: string, body: Buffer, etag = bodyHash(body)): StoreState {
    return stateOf(new Map(state.entries).set(key, entryOf(key, body, etag)));
  }

  function without(state: StoreState, key: string): StoreState {
    if (!state.entries.has(key)) return state;
    const content = new Map(state.entries);
    content.delete(key);
    return stateOf(content);
  }

  function put(state: StoreState, call: Extract<Call, { op: 'put' }>): Outcome {
    const old = state.entries.get(call.key);
    if (call.ifNoneMatch === true && old !== undefined)
      return { state, answer: failed('PreconditionFailed') };
    if (call.ifMatch !== undefined && old?.etag !== call.ifMatch) {
      return { state, answer: failed('PreconditionFailed') };
    }
    const etag = bodyHash(call.body);
    const entry = entryOf(call.key, call.body, etag);
    return { state: withEntry(state, call.key, call.body), answer: { kind: 'entry', entry, sig: etag } };
  }

  function list(state: StoreState, call: Extract<Call, { op: 'list' }>): Answer {
    const limit = Math.min(call.limit, options.pageSize ?? 1000);
    const found: Entry[] = [];
    const prefixes: string[] = [];
    let last: string | undefined;
    let next: string | undefined;
    for (const entry of state.entries.values()) {
      if (!isObject(entry.key) || !entry.key.startsWith(call.key)) continue;
      const slash = call.folded ? entry.key.indexOf('/', call.key.length) : -1;
      const name = slash === -1 ? entry.key : entry.key.slice(0, slash + 1);
      if (name <= call.startAfter || name === last) continue;
      if (found.length + prefixes.length >= limit) {
        next = last;
        break;
      }
      if (slash === -1) found.push(entry);
      else prefixes.push(name);
      last = name;
    }
    // What a listing tells of an object: key and size, never its version.
    const told = [...found.map(({ key, body }) => `${key}:${body.length}`), ...prefixes, next ?? ''];
    return { kind: 'page', entries: found, prefixes, next, sig: bodyHash(Buffer.from(told.join('\n'))) };
  }

  /** As on the memory and file stores: one writer at a time, and what a checkpoint gave is there. */
  function lockedMultipart(state: StoreState, call: MultipartCall): Outcome {
    const { key, target } = call;
    const held = state.entries.get(key);
    const holder = held?.etag.slice(held.etag.indexOf(' ') + 1) ?? '';
    const keep = (body: Buffer, by: string): StoreState =>
      withEntry(state, key, body, `${bodyHash(body)} ${by}`);
    if (call.op === 'create') return { state: keep(nothing, ''), answer: done };
    if (call.op === 'abort') return { state: without(state, key), answer: done };
    if (call.op === 'close') {
      const mine = held !== undefined && holder === call.holder;
      return { state: mine ? keep(held.body, '') : state, answer: done };
    }
    if (held === undefined || held.body.length < call.offset) return notThere(state, call, held);
    const kept = held.body.subarray(0, call.offset);
    if (call.op === 'read') return readBack(state, key, kept);
    if (call.op === 'append') return { state: keep(Buffer.concat([kept, call.body]), holder), answer: done };
    if (holder !== '') return { state, answer: failed('MultipartBusy') };
    if (call.op === 'resume') return { state: keep(held.body, call.holder), answer: done };
    return { state: without(withEntry(state, target, kept), key), answer: done };
  }

  /**
   * As on S3: nobody is kept out; a part that is sent twice is what came last; and completing names the versions of the parts,
   * so that it fails when another writer replaced one. The upload's entry lists them, each with where it begins.
   */
  function openMultipart(state: StoreState, call: MultipartCall): Outcome {
    const { key, target, offset } = call;
    const held = state.entries.get(key);
    if (call.op === 'create') return { state: withEntry(state, key, nothing), answer: done };
    if (call.op === 'abort') return { state: without(state, key), answer: done };
    if (call.op === 'close') return { state, answer: done };
    if (held === undefined) return notThere(state, call, held);
    if (call.op === 'resume') return { state, answer: done };
    const parts = new Map(
      held.body.length === 0 ? [] : (JSON.parse(held.body.toString()) as [number, string][]),
    );
    if (call.op === 'append') {
      parts.set(offset, call.body.toString('base64'));
      const body = Buffer.from(JSON.stringify([...parts].sort(([a], [b]) => a - b)));
      return { state: withEntry(state, key, body), answer: done };
    }
    const named = call.parts.map(({ at, etag }) => {
      const bytes = Buffer.from(parts.get(at) ?? '', 'base64');
      return bodyHash(bytes) === etag ? bytes : undefined;
    });
    if (named.includes(undefined)) return { state, answer: failed('MultipartUnknown') };
    const whole = Buffer.concat(named as Buffer[]);
    if (call.op === 'read') return readBack(state, key, whole);
    return { state: without(withEntry(state, target, whole), key), answer: done };
  }

  function notThere(state: StoreState, call: MultipartCall, held: Entry | undefined): Outcome {
    // Completing twice is no error.
    const there = call.op === 'complete' && held === undefined ? state.entries.get(call.target) : undefined;
    const same = there?.body.length === call.offset;
    return { state, answer: same ? done : failed('MultipartUnknown') };
  }

  function readBack(state: StoreState, key: string, body: Buffer): Outcome {
    const entry = entryOf(key, body, bodyHash(body));
    return { state, answer: { kind: 'entry', entry, sig: entry.etag } };
  }

  function compute(state: StoreState, call: Call): Outcome {
    if (call.op === 'wait') return { state, answer: done };
    if (call.op === 'list') return { state, answer: list(state, call) };
    if (call.op === 'put') return put(state, call);
    if (call.op === 'delete') return { state: without(state, call.key), answer: done };
    if ('holder' in call) {
      return options.uploads === 'open' ? openMultipart(state, call) : lockedMultipart(state, call);
    }
    const entry = state.entries.get(call.key);
    return { state, answer: { kind: 'entry', entry, sig: entry === undefined ? 'none' : entry.etag } };
  }

  return {
    exclusive: options.uploads !== 'open',
    empty: stateOf(new Map()),
    apply(state, call) {
      let known = results.get(call.sig);
      if (known === undefined) results.set(call.sig, (known = new Map()));
      const name = String(state.id);
      let outcome = known.get(name);
      if (outcome === undefined) known.set(name, (outcome = compute(state, call)));
      return outcome;
    },
  };
}
