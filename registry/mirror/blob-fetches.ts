import type { Readable } from 'node:stream';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { BlobContent, Registry } from '../../oci/registry.ts';
import type { MirrorLog } from './deps.ts';
import { createSpool, type Spool } from './spool.ts';

/** A blob on its way in. */
export interface BlobFetch {
  readonly spool: Spool;
  /** Whether it is stored now. Errors: what the upstream's body failed with. */
  readonly settled: Promise<boolean>;
}

/** One fetch of a blob at a time in this process, whoever asks; it goes on when all of them leave, as they mostly come back. */
export interface BlobFetches {
  /**
   * Undefined: it is stored by now. Otherwise the upstream has answered and bytes are coming; whoever is not quick enough finds
   * the spool closed and looks into the registry again. Errors: those of `start`, UpstreamError when the disk is full.
   */
  open(repository: string, digest: Digest, start: () => Promise<BlobContent>): Promise<BlobFetch | undefined>;
  /** The fetch under way, if there is one. */
  current(repository: string, digest: Digest): Promise<BlobFetch | undefined> | undefined;
  /** Breaks off what is under way and waits for its end. */
  close(): Promise<void>;
}

export function createBlobFetches(deps: {
  /** Where blobs are looked for and put. */
  readonly registry: Registry;
  readonly folder: string;
  readonly log: MirrorLog;
}): BlobFetches {
  const { registry, folder, log } = deps;
  const opening = new Map<string, Promise<BlobFetch | undefined>>();
  const ends = new Set<Promise<unknown>>();
  const stop = new AbortController();

  async function begin(
    repository: string,
    digest: Digest,
    start: () => Promise<BlobContent>,
    done: () => void,
  ): Promise<BlobFetch | undefined> {
    // The fetch before this one may have ended between the caller's look and now.
    if (await isStored(registry, repository, digest)) return undefined;
    const { size, body } = await start();
    let spool: Spool | undefined;
    try {
      spool = await createSpool(folder, size);
      stop.signal.throwIfAborted();
    } catch (error) {
      body.destroy();
      spool?.release();
      throw error;
    }
    const started = spool;
    const cut = (): void => void body.destroy(new Error('the server stops'));
    stop.signal.addEventListener('abort', cut, { once: true });
    const settled = settle(repository, digest, { spool: started, body, failed: done }).finally(() => {
      stop.signal.removeEventListener('abort', cut);
      // In this order: whoever finds no fetch from now on finds the blob.
      done();
      started.release();
      ends.delete(settled);
    });
    ends.add(settled);
    // Readers of the spool learn of the failure themselves.
    settled.catch((error: unknown) =>
      log.warn({ err: error, repository, digest }, 'a blob was not mirrored to its end'),
    );
    return { spool: started, settled };
  }

  async function settle(
    repository: string,
    digest: Digest,
    { spool, body, failed }: { spool: Spool; body: Readable; failed: () => void },
  ): Promise<boolean> {
    const content = spool.read('storing', 0, spool.size - 1);
    const storing = registry
      .putBlob(repository, digest, content, { length: spool.size })
      .then(
        () => undefined,
        (error: unknown) => error ?? new Error('putBlob failed'),
      )
      // A store that fails leaves the rest unread, and nobody else would ever let go of the file.
      .finally(() => content.destroy());
    try {
      await spool.fill(body);
    } catch (error) {
      // Readers know it already, and may come again at once.
      failed();
      throw error;
    } finally {
      body.destroy();
      await storing;
    }
    const error = await storing;
    if (error === undefined) return true;
    log.warn({ err: error, repository, digest }, 'a mirrored blob could not be stored');
    return false;
  }

  return {
    open(repository, digest, start) {
      const key = `${repository}@${digest}`;
      const known = opening.get(key);
      if (known !== undefined) return known;
      const forget = (): void => {
        if (opening.get(key) === fetch) opening.delete(key);
      };
      const fetch = begin(repository, digest, start, forget);
      opening.set(key, fetch);
      // Without a fetch that goes on there is nothing to remember.
      fetch.then(
        (begun) => (begun === undefined ? forget() : undefined),
        () => forget(),
      );
      return fetch;
    },
    current: (repository, digest) => opening.get(`${repository}@${digest}`),
    async close() {
      stop.abort();
      await Promise.allSettled(opening.values());
      await Promise.allSettled(ends);
    },
  };
}

export async function isStored(registry: Registry, repository: string, digest: Digest): Promise<boolean> {
  try {
    await registry.resolveBlob(repository, digest);
    return true;
  } catch (error) {
    if (isOciError(error, 'BLOB_UNKNOWN')) return false;
    throw error;
  }
}
