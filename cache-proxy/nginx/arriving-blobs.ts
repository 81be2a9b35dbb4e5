import { createBoundedCache } from '../../core/bounded-cache.ts';

/**
 * Which blobs still come from the registry. nginx hands on the pieces of such a blob without `sendfile`: with it, a client's next piece is looked for as
 * soon as the one before is open, and while nginx waits for that one it sends nothing, not even what it has. Whoever follows another client then gets
 * what its socket holds, 4 MiB, every half second, and falls behind a link of more than 70 Mbit/s.
 */
export interface ArrivingBlobs {
  /** A piece of it is asked of the registry. */
  note(digest: string): void;
  /** Whether pieces were asked for within the last 20 s, or the first one is not there at all. */
  isArriving(digest: string): Promise<boolean>;
}

export interface ArrivingBlobsDeps {
  /** Whether nginx has the blob's first piece. Errors: it could not be seen; then it counts as there. */
  readonly hasFirst: (digest: string) => Promise<boolean>;
}

const arrivingMs = 20_000;

export function createArrivingBlobs({ hasFirst }: ArrivingBlobsDeps): ArrivingBlobs {
  const asked = createBoundedCache<string, true>(10_000, { ttl: arrivingMs });
  return {
    note: (digest) => void asked.set(digest, true),
    async isArriving(digest) {
      return asked.has(digest) || !(await hasFirst(digest).catch(() => true));
    },
  };
}
