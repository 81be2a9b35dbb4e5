/** What a pool knows of one request. A layer that is fetched in pieces has one record with its own bytes and one per piece that came from the origin. */
export interface PullRecord {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Of the client's request; records of its fetches from the origin have the same. */
  readonly id: string;
  /** A client's request, or a fetch from the origin that was made for one. */
  readonly side: 'client' | 'origin';
  readonly kind: 'blob' | 'manifest' | 'tag' | 'other';
  /** Undefined: the pool's own origin. */
  readonly ns?: string;
  readonly repository?: string;
  readonly digest?: string;
  readonly tag?: string;
  readonly method: string;
  readonly status: number;
  /** From where the answer came; `stale`: the origin could not be asked. Of a client's request in pieces: of the first one. */
  readonly cache: 'hit' | 'miss' | 'stale' | 'revalidated' | 'bypass';
  /** Bytes of bodies that went to the client, or came from the origin. */
  readonly bytes: number;
  readonly seconds: number;
  /** Until the first byte of the answer; undefined where the engine does not know. */
  readonly firstByteSeconds?: number;
  /** Who asked: address of the node; undefined for the pool's own prewarming. */
  readonly client?: string;
  /** The pool's own prewarming asked. */
  readonly prewarm: boolean;
}
