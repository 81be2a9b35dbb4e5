/** What the container engines of a node need to know of a pool. Made from `pools.yaml` by `clientPool`; every text in it was checked there. */
export interface ClientPool {
  readonly name: string;
  /** Scheme and `host[:port]`, without the scheme's own port. */
  readonly endpoint: string;
  /** `host[:port]` of the endpoint, as an image's name begins. */
  readonly host: string;
  readonly plain: boolean;
  /** The origin under all its names first, then the upstreams. */
  readonly registries: readonly MirroredRegistry[];
  /** Certificates (PEM) that the pool's is checked with. Undefined: the system's are enough. */
  readonly ca?: string;
  readonly p2p: 'none' | 'dragonfly' | 'spegel';
}

/** A registry whose images are to be pulled through the pool. */
export interface MirroredRegistry {
  /** What images of it are called by: `registry.example.com`, `docker.io`. */
  readonly host: string;
  /** Where it is asked when the pool is away: scheme and host. */
  readonly server: string;
  readonly kind: 'origin' | 'upstream';
  /** Certificates (PEM) that its own is checked with. Undefined: the system's are enough. */
  readonly ca?: string;
}

/** Programs that pull images on a node and read files there. CRI-O reads Podman's. */
export type NodeClient = 'containerd' | 'podman' | 'docker';

/** The files of one client, and what they do not say. */
export interface ClientSetup {
  readonly client: NodeClient;
  readonly files: readonly ClientFile[];
  readonly merges: readonly ClientMerge[];
  /** What somebody has to do or know besides, a sentence or a short text each. */
  readonly notes: readonly string[];
}

/** A file that belongs to the pool alone. */
export interface ClientFile {
  /** Absolute. */
  readonly path: string;
  readonly content: string;
}

/** Values for lists in a JSON document that belongs to others; what is there already stays. */
export interface ClientMerge {
  /** Absolute. */
  readonly path: string;
  readonly add: Readonly<Record<string, readonly string[]>>;
}
