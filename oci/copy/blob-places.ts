import type { Digest } from '../digest.ts';

/**
 * Where this run has seen or put blobs on the target, so that each is uploaded once and mounted from then on.
 * A memory, not a truth: it forgets the oldest, and what it says may have been deleted since.
 */
export interface BlobPlaces {
  has(repository: string, digest: Digest): boolean;
  /** A repository that holds it. */
  any(digest: Digest): string | undefined;
  add(repository: string, digest: Digest): void;
  forget(digest: Digest): void;
  /** Runs `work` while nobody else works on this blob: the second finds what the first has put. */
  alone<T>(digest: Digest, work: () => Promise<T>): Promise<T>;
}

/** Of blobs; some 150 bytes each. */
const defaultCapacity = 200_000;
/** Per blob: one to mount from is enough, the rest saves a question. */
const maxRepositories = 8;

export function createBlobPlaces(capacity = defaultCapacity): BlobPlaces {
  const places = new Map<Digest, readonly string[]>();
  const busy = new Map<Digest, Promise<void>>();
  return {
    has: (repository, digest) => places.get(digest)?.includes(repository) === true,
    any: (digest) => places.get(digest)?.[0],
    add(repository, digest) {
      const known = places.get(digest) ?? [];
      places.delete(digest);
      if (places.size >= capacity) {
        const [oldest] = places.keys();
        if (oldest !== undefined) places.delete(oldest);
      }
      places.set(
        digest,
        known.includes(repository) ? known : [repository, ...known].slice(0, maxRepositories),
      );
    },
    forget(digest) {
      places.delete(digest);
    },
    async alone(digest, work) {
      for (let other = busy.get(digest); other !== undefined; other = busy.get(digest)) await other;
      const running = work();
      // Whoever waits only wants to know that it is over.
      const over = running.then(
        () => {},
        () => {},
      );
      busy.set(digest, over);
      try {
        return await running;
      } finally {
        busy.delete(digest);
      }
    },
  };
}
