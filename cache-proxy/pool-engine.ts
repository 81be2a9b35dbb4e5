import type { Readable } from 'node:stream';
import type { Gate } from './agent/gate.ts';
import type { OriginHealth } from './agent/health.ts';
import type { Pool } from './pools/pool.ts';
import type { PullRecord } from './pull-record.ts';

/**
 * What carries a pool's bytes. The rules are the same for every engine, and one suite checks them: each request is decided by the gate before a byte
 * of it is served, also from the cache; whatever number of clients asks, the origin is asked once; a client gets bytes while they still arrive;
 * a tag is revalidated on every pull and answered from the cache while the origin cannot be asked; writes and HEAD of blobs go to the origin;
 * nothing hangs: without an origin what is not cached is 503 with Retry-After within five seconds.
 */
export interface PoolEngine {
  readonly kind: Pool['engine'];
  /** Where it listens, as the operating system says it. */
  readonly url: string;
  readonly cache: PoolCache;
  /** Another configuration for the same listener, without a failed request. Errors: UserError; then the former one goes on. */
  reconfigure(pool: Pool): Promise<void>;
  /** Lets requests under way end. */
  close(): Promise<void>;
}

/** What an engine works with. */
export interface PoolEngineDeps {
  readonly gate: Gate;
  /** `host:port` of the agent's loopback listener, which answers `/v2/` and `/token` for clients. */
  readonly agent: string;
  /** Whether the pool's own origin answers, shared with the gate: what one of them waited for in vain the other does not. Undefined: the engine finds out itself. */
  readonly health?: OriginHealth | undefined;
  /** Every answered request, and every fetch from the origin, as soon as the engine knows of it. Never throws. */
  readonly onRecord: (record: PullRecord) => void;
  /** Static text and fields, as everywhere. */
  readonly log: EngineLog;
}

export interface EngineLog {
  info(fields: Record<string, unknown>, text: string): void;
  warn(fields: Record<string, unknown>, text: string): void;
  error(fields: Record<string, unknown>, text: string): void;
}

/** What lies on the proxy's disk. Reading it changes neither what is evicted next nor the counts. */
export interface PoolCache {
  /** In no order; entries that come and go meanwhile may be missing. */
  entries(): AsyncIterable<CacheEntry>;
  /** Which parts of a blob are here. */
  coverage(digest: string): Promise<Coverage>;
  /** Bytes of a blob that is here whole; undefined: it is not. Errors while reading: the file was evicted meanwhile. */
  read(digest: string): Promise<Readable | undefined>;
  /** Forgets it; what is being sent goes on. */
  purge(what: PurgeTarget): Promise<Freed>;
  usage(): Promise<Freed>;
}

/** A piece of a blob, a manifest by digest, or a tag's answer. */
export interface CacheEntry {
  readonly kind: 'blob' | 'manifest' | 'tag';
  /** Of blobs and manifests. */
  readonly digest?: string;
  /** Of manifests and tags: blobs are shared by all repositories. With `ns/` in front for other upstreams. */
  readonly repository?: string;
  readonly tag?: string;
  /** Of a piece of a blob: where it begins. */
  readonly offset?: number;
  /** On disk. */
  readonly bytes: number;
}

export interface Coverage {
  /** Bytes that are here. */
  readonly cached: number;
  /** The blob's, where the cache knows it. */
  readonly size?: number;
  readonly whole: boolean;
}

export type PurgeTarget =
  | { readonly digest: string }
  | { readonly repository: string; readonly tag?: string };

export interface Freed {
  readonly entries: number;
  readonly bytes: number;
}
