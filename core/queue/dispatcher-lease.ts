import { randomUUID } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../object-store/object-store.ts';
import type { Waiting } from './job-queue.ts';

export interface DispatcherLeaseOptions {
  readonly store: ObjectStore;
  /** Key of the document. */
  readonly key: string;
  /** Names this process. */
  readonly owner: string;
  /** Id of the worker beside it; each process may have several. */
  readonly worker: string;
  /** Whoever is silent for so long has lost it; the holder writes three times in it. Milliseconds. */
  readonly leaseMs: number;
  /** Whether the named process surely is no more. */
  readonly isGone: (owner: string) => boolean;
  /** Milliseconds since any moment; never set back. */
  readonly elapsed: () => number;
}

/**
 * Which of many may dispatch. Two at once would do no harm, as what they release are hints: so this need not be exact, and is not fenced.
 */
export interface DispatcherLease {
  readonly held: boolean;
  /** Takes it when it is free, and renews it when that is due, with `waiting` for whoever asks. Errors: ObjectStoreUnavailable. */
  keep(waiting: () => Waiting): Promise<void>;
  /** Lets it go, so that another has it at once. */
  leave(): Promise<void>;
}

interface Document {
  /** Differs in each write: equal content must never have an equal ETag. */
  readonly nonce: string;
  /** Empty: nobody's. */
  readonly owner: string;
  readonly worker?: string;
  readonly waiting?: Waiting;
}

export function createDispatcherLease(options: DispatcherLeaseOptions): DispatcherLease {
  const { store, key, owner, worker, leaseMs, elapsed } = options;
  let held: { etag: string; renewed: number } | undefined;
  let seen: { nonce: string; since: number } | undefined;
  let left = false;

  async function write(document: Omit<Document, 'nonce'>, etag: string | undefined): Promise<string> {
    const body = Buffer.from(JSON.stringify({ nonce: randomUUID(), ...document }));
    const condition = etag === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: etag };
    return (await store.put(key, body, { ...condition, durability: 'process' })).etag;
  }
  async function take(waiting: Waiting, etag: string | undefined): Promise<void> {
    const asked = elapsed();
    try {
      held = { etag: await write({ owner, worker, waiting }, etag), renewed: asked };
    } catch (error) {
      held = undefined;
      if (!(error instanceof PreconditionFailed)) throw error;
    }
  }
  /** Whether the document's holder may be taken for dead. */
  function isFree({ nonce, owner: holder, worker: beside }: Document): boolean {
    // Its own: the answer to an earlier write was lost.
    if (holder === '' || beside === worker || options.isGone(holder)) return true;
    if (seen?.nonce !== nonce) seen = { nonce, since: elapsed() };
    return elapsed() - seen.since >= leaseMs;
  }

  return {
    get held() {
      return !left && held !== undefined && elapsed() - held.renewed < leaseMs;
    },
    async keep(waiting) {
      if (left) return;
      if (held !== undefined) {
        if (elapsed() - held.renewed >= leaseMs / 3) await take(waiting(), held.etag);
        return;
      }
      const found = await store.get(key);
      const document = found === undefined ? undefined : parse(found.body);
      if (document === undefined || isFree(document)) await take(waiting(), found?.etag);
    },
    async leave() {
      left = true;
      if (held === undefined) return;
      try {
        await write({ owner: '' }, held.etag);
      } catch (error) {
        if (!(error instanceof PreconditionFailed)) throw error;
      } finally {
        held = undefined;
      }
    },
  };
}

/** What the dispatcher counted last; undefined: there is none. Errors: ObjectStoreUnavailable. */
export async function readWaiting(store: ObjectStore, key: string): Promise<Waiting | undefined> {
  const found = await store.get(key);
  return found === undefined ? undefined : parse(found.body)?.waiting;
}

/** A power cut may leave it empty. */
function parse(body: Buffer): Document | undefined {
  try {
    const document = JSON.parse(body.toString()) as Document;
    return typeof document.nonce === 'string' && typeof document.owner === 'string' ? document : undefined;
  } catch {
    return undefined;
  }
}
