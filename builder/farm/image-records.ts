import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { Digest } from '../../oci/digest.ts';

/** A build that made an image. */
export interface ImageBuild {
  readonly build: string;
  readonly ref: string;
  readonly commit: string;
  /** Its `test:` commands ran, and succeeded. */
  readonly tested: boolean;
}

/**
 * What the farm itself knows of the images that it made, for promotions. In the store and not in the registry: whoever may push an image
 * may write its annotations and referrers, but not this.
 */
export interface ImageRecords {
  /** Repeating it is no error. One build for each ref is kept, a tested one rather than another. */
  readonly add: (repository: string, digest: Digest, build: ImageBuild) => Promise<void>;
  /** Newest first. */
  readonly read: (repository: string, digest: Digest) => Promise<readonly ImageBuild[]>;
  /** The same image in another repository. */
  readonly carry: (from: string, to: string, digest: Digest) => Promise<void>;
}

/** Refs whose builds made the very same image; more tell nothing new. */
const mostBuilds = 20;

export function createImageRecords(store: ObjectStore): ImageRecords {
  const keyOf = (repository: string, digest: Digest): string =>
    `builds-images/${repository}/_digests/${digest}`;

  async function load(key: string): Promise<{ builds: readonly ImageBuild[]; etag?: string }> {
    const object = await store.get(key);
    if (object === undefined) return { builds: [] };
    const { builds } = JSON.parse(object.body.toString('utf8')) as { builds: readonly ImageBuild[] };
    return { builds, etag: object.etag };
  }

  async function add(repository: string, digest: Digest, more: readonly ImageBuild[]): Promise<void> {
    const key = keyOf(repository, digest);
    for (;;) {
      const { builds, etag } = await load(key);
      const next = more.reduce(withBuild, builds);
      if (next === builds) return;
      const body = Buffer.from(JSON.stringify({ version: 1, builds: next }));
      try {
        await store.put(key, body, etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag });
        return;
      } catch (error) {
        if (!(error instanceof PreconditionFailed)) throw error;
      }
    }
  }

  return {
    add: (repository, digest, build) => add(repository, digest, [build]),
    read: async (repository, digest) => (await load(keyOf(repository, digest))).builds,
    async carry(from, to, digest) {
      const { builds } = await load(keyOf(from, digest));
      if (builds.length > 0) await add(to, digest, builds.toReversed());
    },
  };
}

/** `builds` itself where there is nothing new. */
function withBuild(builds: readonly ImageBuild[], build: ImageBuild): readonly ImageBuild[] {
  const known = builds.find(({ ref }) => ref === build.ref);
  if (known !== undefined && (known.build === build.build || (known.tested && !build.tested))) return builds;
  return [build, ...builds.filter((each) => each !== known)].slice(0, mostBuilds);
}
