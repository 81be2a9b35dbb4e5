import type { JsonValue } from '../../core/object-store/object-store.ts';

/** What a child of `brickyard serve` is for. `http` answers requests, `worker` runs builds. */
export type ChildKind = 'http' | 'worker';

/** From the supervisor to a child. */
export type ToChild =
  | { readonly type: 'start'; readonly options: ServeOptions }
  | { readonly type: 'event'; readonly topic: string; readonly message: JsonValue }
  /** `now`: without waiting for what is under way; may follow the other one. */
  | { readonly type: 'stop'; readonly now?: boolean };

/** From a child to the supervisor. */
export type FromChild =
  | { readonly type: 'ready'; readonly port?: number }
  | { readonly type: 'failed'; readonly text: string; readonly exitCode: number }
  | { readonly type: 'event'; readonly topic: string; readonly message: JsonValue };

/** What `serve` was asked for; a child reads configuration itself, from the same file and environment. */
export interface ServeOptions {
  readonly configFile?: string;
  readonly roles: readonly ServeRole[];
  readonly insecureOpen: boolean;
}

export type ServeRole = 'registry' | 'builder' | 'worker';
