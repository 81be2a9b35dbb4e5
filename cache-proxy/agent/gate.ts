/** A client asks for something; from the engine's own reading of the path, never from the path itself. */
export interface AccessRequest {
  /** The client's header, as it came. */
  readonly authorization?: string;
  /** Undefined: the pool's own origin. */
  readonly ns?: string;
  readonly repository: string;
  /** `<algorithm>:<hex>` or a tag. */
  readonly reference: { readonly digest: string } | { readonly tag: string };
  /** Of a digest: a manifest's right is not a blob's. */
  readonly kind: 'blob' | 'manifest';
  readonly client?: string;
}

/** How a request is answered that the gate does not let through; `challenge` is the whole value of WWW-Authenticate. */
export type Verdict =
  | { readonly outcome: 'allowed'; readonly prewarm: boolean }
  | { readonly outcome: 'unauthenticated'; readonly challenge: string }
  | { readonly outcome: 'denied' }
  /** Not in this repository, or there is no such repository. */
  | { readonly outcome: 'unknown' }
  /** Nobody knows while the origin cannot be asked. Seconds. */
  | { readonly outcome: 'unavailable'; readonly retryAfter: number };

/**
 * Who may have what. Decides from the origin's public keys and what the origin said before (is the digest in the repository?), and asks the origin only for
 * what it was not told yet; revoked rights end within 30 s while the origin can be reached. Never throws.
 */
export interface Gate {
  decide(request: AccessRequest): Promise<Verdict>;
}
