/**
 * One pool: a group of nodes behind a slow or costly link, and the proxy that its nodes pull from. Made from `pools.yaml` alone, where every value
 * was checked; sizes are bytes, times milliseconds, rates bits per second.
 */
export interface Pool {
  /** Unique in its file: lower-case letters, digits and dashes. */
  readonly name: string;
  /** Where nodes reach the proxy, scheme and `host[:port]` without a path: what stands in front of an image's name. */
  readonly endpoint: string;
  /** IP address and port that the proxy listens on. */
  readonly listen: string;
  /** Undefined: plain HTTP. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Plain HTTP also where other machines reach it, because the network is trusted or somebody else speaks TLS in front. */
  readonly allowPlain: boolean;
  /** IP address and port of the agent's own listener: metrics, health, and the commands `pool warm` and `pool purge`. Loopback by default. */
  readonly agent: { readonly listen: string };
  /** The proxy's folder: configuration, logs, remembered grants, and what the cache is made of unless `cache.folder` is elsewhere. */
  readonly folder: string;
  readonly engine: 'nginx' | 'embedded';
  readonly origin: Origin;
  /** Other pools that are asked before the origin, in this order, for what they have. Their endpoints. */
  readonly parents: readonly PoolPeer[];
  /** All proxies of this pool, itself included, each the owner of its share of the digests; empty: one proxy. */
  readonly shards: readonly string[];
  readonly cache: CacheLimits;
  readonly link: LinkBudget;
  readonly nodes: { readonly cidrs: readonly string[] };
  readonly auth: PoolAuth;
  /** Other registries, asked for requests with `?ns=<ns>`. */
  readonly upstreams: readonly Upstream[];
  readonly prewarm: PrewarmPolicy;
  /** What becomes of a cached tag that the origin says it does not have (any more): still served, or gone here, too. */
  readonly onOriginMissing: 'keep' | 'drop';
  readonly p2p: { readonly engine: 'none' | 'dragonfly' | 'spegel' };
}

/** The registry that the pool is in front of. */
export interface Origin {
  /** Scheme and `host[:port]` of its replicas, one at least. */
  readonly urls: readonly string[];
  /** File of certificates that theirs are checked with; default: the system's. */
  readonly ca?: string;
  /** Other names that its images are called by, `host[:port]`; those of `urls` and of the pool's endpoint always are. */
  readonly names?: readonly string[];
  /** Where `credential` is read from: `file:<absolute path>` or `env:<name>`. */
  readonly credentialFrom?: string;
  /** The pool's own read-only account there: what is fetched is fetched with it. Undefined: as anonymous. */
  readonly credential?: Credential;
}

export interface Credential {
  readonly username: string;
  readonly password: string;
}

export interface PoolPeer {
  readonly name: string;
  readonly endpoint: string;
}

export interface Upstream extends Origin {
  /** The registry's name as images are called, e.g. `docker.io`. */
  readonly ns: string;
  /** Patterns over repositories (`library/**`); what matches none is refused. Empty: everything. */
  readonly allow: readonly string[];
  /** Patterns that are refused whatever `allow` says. */
  readonly deny: readonly string[];
}

export interface CacheLimits {
  readonly folder: string;
  /** Bytes that the cache may have on disk. */
  readonly maxSize: number;
  /** Bytes left free on its disk. */
  readonly minFree: number;
  /** What nobody asked for so long goes. */
  readonly inactive: number;
  /** Layers are fetched and kept in pieces of so many bytes. */
  readonly slice: number;
}

export interface LinkBudget {
  /** What the link to the origin carries. */
  readonly down: number;
  /** What prewarming may take of it within `prewarmWindow`, or always without one. */
  readonly prewarm: number;
  /** Local time of day, minutes since midnight; `from` > `to` goes over midnight. */
  readonly prewarmWindow?: { readonly from: number; readonly to: number };
  /** What it may take outside of the window. */
  readonly prewarmDay: number;
}

export interface PoolAuth {
  /**
   * `token`: the origin's tokens are checked here, with its public keys, and Basic is asked there. `open`: the origin has no accounts, so that everybody
   * may pull everything that it gives the pool.
   */
  readonly mode: 'token' | 'open';
  /** For so long after their last grant users go on pulling what they may while the origin cannot be reached. */
  readonly offlineGrace: number;
  /** Patterns over repositories that anybody may pull, also while the origin is away. */
  readonly anonymousRepositories: readonly string[];
}

export interface PrewarmPolicy {
  /** Patterns over repositories or `repository:tag` that are always kept: base images. */
  readonly always: readonly string[];
  /** Patterns over `repository:tag` whose pushes are fetched before anybody asks. */
  readonly follow: readonly string[];
  /** Bytes that are kept warm by popularity. */
  readonly topBytes: number;
  /** After so long a pull counts half. */
  readonly halfLife: number;
  /** Layers above are never prewarmed. */
  readonly maxLayer: number;
}
