import type { Readable } from 'node:stream';
import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import type { BlobContent, ByteRange, Registry } from '../../oci/registry.ts';
import type { BlobFetch, BlobFetches } from './blob-fetches.ts';
import type { MirrorObserver } from './deps.ts';
import type { Origin } from './mirror.ts';
import { createSingleFlight } from './single-flight.ts';
import type { AskUpstream } from './upstream-calls.ts';
import { toUpstreamError } from './upstream-error.ts';

export interface MirroredBlobs {
  getBlob(origin: Origin, repository: string, digest: Digest, range?: ByteRange): Promise<BlobContent>;
  resolveBlob(origin: Origin, repository: string, digest: Digest): Promise<Descriptor>;
}

/** A blob up to this size is answered once it is stored: a fault of the upstream is then a clear error, not a body that breaks off. */
const waitedBytes = 1024 * 1024;
/** How long "the upstream has no such blob" is believed. */
const unknownMs = 10_000;

export function createMirroredBlobs(deps: {
  readonly registry: Registry;
  readonly fetches: BlobFetches;
  readonly ask: AskUpstream;
  readonly observer?: MirrorObserver | undefined;
  readonly clock: () => number;
}): MirroredBlobs {
  const { registry, fetches, ask, observer, clock } = deps;
  const unknown = createBoundedCache<string, number>(10_000);
  const heads = createSingleFlight<Descriptor>();

  /** Errors: BLOB_UNKNOWN, also where the upstream said so a moment ago; UpstreamError, DENIED. */
  async function asking<T>(
    { mirror }: Origin,
    repository: string,
    digest: Digest,
    call: () => Promise<T>,
  ): Promise<T> {
    const key = `${repository}@${digest}`;
    if ((unknown.get(key) ?? 0) <= clock()) {
      const answer = await ask(mirror, call);
      if (answer !== undefined) return answer.value;
      unknown.set(key, clock() + unknownMs);
    }
    throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
  }

  async function stored(
    repository: string,
    digest: Digest,
    range: ByteRange | undefined,
  ): Promise<BlobContent | undefined> {
    try {
      return await registry.getBlob(repository, digest, range);
    } catch (error) {
      if (isOciError(error, 'BLOB_UNKNOWN')) return undefined;
      throw error;
    }
  }

  return {
    async getBlob(origin, repository, digest, range) {
      const { mirror, name } = origin;
      // Again where a fetch ended just before it could be followed; the blob is stored then, or the fetch failed.
      for (let round = 1; round <= 3; round += 1) {
        const content = await stored(repository, digest, range);
        if (content !== undefined) return content;
        const fetch = await fetches.open(repository, digest, async () => {
          const coming = await asking(origin, repository, digest, () =>
            mirror.upstream.getBlob(name, digest),
          );
          observer?.fetching(mirror.host, coming.size);
          return coming;
        });
        if (fetch === undefined || fetch.spool.closed) continue;
        const body = follow(fetch, range);
        if (fetch.spool.size > waitedBytes) return { size: fetch.spool.size, body };
        if (!(await settle(fetch, body, mirror.host))) return { size: fetch.spool.size, body };
        body.destroy();
      }
      throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    },
    async resolveBlob(origin, repository, digest) {
      try {
        return await registry.resolveBlob(repository, digest);
      } catch (error) {
        if (!isOciError(error, 'BLOB_UNKNOWN')) throw error;
      }
      return heads(`${repository}@${digest}`, async () => {
        const { mirror, name } = origin;
        const fetch = await fetches.current(repository, digest)?.catch(() => undefined);
        if (fetch !== undefined) {
          return { mediaType: 'application/octet-stream', digest, size: fetch.spool.size };
        }
        return asking(origin, repository, digest, () => mirror.upstream.resolveBlob(name, digest));
      });
    },
  };
}

/** Waits for the end; true: it is stored. Errors: UpstreamError. */
async function settle(fetch: BlobFetch, body: Readable, host: string): Promise<boolean> {
  try {
    return await fetch.settled;
  } catch (error) {
    body.destroy();
    throw toUpstreamError(error, host);
  }
}

/** Errors: RANGE_INVALID. */
function follow(fetch: BlobFetch, range: ByteRange | undefined): Readable {
  const { size } = fetch.spool;
  if (range !== undefined && (range.start < 0 || range.start >= size || range.start > range.end)) {
    throw new OciError('RANGE_INVALID', { detail: { size } });
  }
  return fetch.spool.read('serving', range?.start ?? 0, Math.min(range?.end ?? size - 1, size - 1));
}
