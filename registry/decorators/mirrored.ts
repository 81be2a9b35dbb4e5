import { OciError } from '../../oci/errors.ts';
import type { Page, Registry } from '../../oci/registry.ts';
import { createBlobFetches } from '../mirror/blob-fetches.ts';
import { createMirroredBlobs } from '../mirror/blobs.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import { createMirroredManifests } from '../mirror/manifests.ts';
import { createFindOrigin, type Origin } from '../mirror/mirror.ts';
import { createUpstreamCalls } from '../mirror/upstream-calls.ts';
import { UpstreamError } from '../mirror/upstream-error.ts';

export interface MirroredRegistry extends Registry {
  /** Breaks off blobs that are under way and waits for that. */
  close(): Promise<void>;
}

/**
 * Repositories under the mirrors' prefixes are pulled from their upstreams when somebody asks, and stored through the registry's
 * ordinary writes. Reads may also raise UpstreamError (UNAVAILABLE, TOOMANYREQUESTS: the upstream) and DENIED (left out by the lists,
 * or refused by the upstream); writes under a prefix are DENIED. Everything else is the registry's own.
 * Rights are checked by whoever wraps this: nothing is fetched for somebody who may not pull.
 */
export function mirrored(registry: Registry, deps: MirrorDeps): MirroredRegistry {
  const { mirrors, sparse, log, observer, clock = Date.now, patienceMs = 5000 } = deps;
  const originOf = createFindOrigin(mirrors);
  const calls = createUpstreamCalls({ mirrors, log, observer, clock });
  const fetches = createBlobFetches({ registry, folder: deps.spoolFolder, log });
  const blobs = createMirroredBlobs({ registry, fetches, ask: calls.ask, observer, clock });
  const manifests = createMirroredManifests({ registry, sparse, calls, log, observer, clock, patienceMs });

  /** `method`, where the repository is our own. */
  function ownOnly<A extends unknown[], R>(
    method: (repository: string, ...args: A) => Promise<R>,
  ): (repository: string, ...args: A) => Promise<R> {
    return async (repository, ...args) => {
      const mirror = mirrors.find(({ prefix }) => repository.startsWith(`${prefix}/`));
      if (mirror === undefined) return method(repository, ...args);
      throw new OciError('DENIED', {
        message: `${mirror.prefix}/ mirrors ${mirror.host} and takes no pushes or deletes; use another repository`,
      });
    };
  }

  /** What the upstream lists, or what is stored where it does not answer. */
  async function listUpstream<T>(
    origin: Origin,
    ask: () => Promise<Page<T>>,
    fallBack: () => Promise<Page<T>>,
  ): Promise<Page<T>> {
    if (calls.ailment(origin.mirror) === undefined) {
      try {
        const page = await calls.ask(origin.mirror, ask);
        if (page === undefined) throw new OciError('NAME_UNKNOWN', { detail: { name: origin.name } });
        return page.value;
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
      }
    }
    return fallBack();
  }

  return {
    ...registry,
    async getBlob(repository, digest, range) {
      const origin = originOf(repository);
      return origin === undefined
        ? registry.getBlob(repository, digest, range)
        : blobs.getBlob(origin, repository, digest, range);
    },
    // What is stored may be sent by somebody else; what is not comes through `getBlob`.
    ...(registry.locateBlob === undefined
      ? {}
      : {
          async locateBlob(repository, digest) {
            originOf(repository);
            return registry.locateBlob?.(repository, digest);
          },
        }),
    async resolveBlob(repository, digest) {
      const origin = originOf(repository);
      return origin === undefined
        ? registry.resolveBlob(repository, digest)
        : blobs.resolveBlob(origin, repository, digest);
    },
    async getManifest(repository, reference) {
      const origin = originOf(repository);
      return origin === undefined
        ? registry.getManifest(repository, reference)
        : manifests.getManifest(origin, repository, reference);
    },
    async resolveManifest(repository, reference) {
      const origin = originOf(repository);
      if (origin === undefined) return registry.resolveManifest(repository, reference);
      // Whoever asks for a digest comes back for its manifest, and only a manifest that was read is known to have it.
      return (await manifests.getManifest(origin, repository, reference)).descriptor;
    },
    async listTags(repository, page) {
      const origin = originOf(repository);
      const stored = (): Promise<Page<string>> => registry.listTags(repository, page);
      if (origin === undefined) return stored();
      return listUpstream(origin, () => origin.mirror.upstream.listTags(origin.name, page), stored);
    },
    async listReferrers(repository, digest, page) {
      const origin = originOf(repository);
      const stored = (): ReturnType<Registry['listReferrers']> =>
        registry.listReferrers(repository, digest, page);
      if (origin === undefined) return stored();
      const { mirror, name } = origin;
      return listUpstream(origin, () => mirror.upstream.listReferrers(name, digest, page), stored);
    },
    startUpload: ownOnly((...args) => registry.startUpload(...args)),
    uploadStatus: ownOnly((...args) => registry.uploadStatus(...args)),
    writeUpload: ownOnly((...args) => registry.writeUpload(...args)),
    finishUpload: ownOnly((...args) => registry.finishUpload(...args)),
    cancelUpload: ownOnly((...args) => registry.cancelUpload(...args)),
    putBlob: ownOnly((...args) => registry.putBlob(...args)),
    mountBlob: ownOnly((...args) => registry.mountBlob(...args)),
    putManifest: ownOnly((...args) => registry.putManifest(...args)),
    deleteBlob: ownOnly((...args) => registry.deleteBlob(...args)),
    deleteManifest: ownOnly((...args) => registry.deleteManifest(...args)),
    deleteTag: ownOnly((...args) => registry.deleteTag(...args)),
    async close() {
      await fetches.close();
    },
  };
}
