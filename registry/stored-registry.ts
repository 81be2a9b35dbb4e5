import { LRUCache } from 'lru-cache';
import { ObjectStoreUnavailable } from '../core/object-store/object-store.ts';
import { OciError } from '../oci/errors.ts';
import type { Registry } from '../oci/registry.ts';
import { deleteBlob, getBlob, locateBlob, mountBlob, resolveBlob } from './store/blobs.ts';
import { createStoreContext, type StoreContextOptions } from './store/create-context.ts';
import { deleteManifest } from './store/delete-manifest.ts';
import { listReferrers, listRepositories, listTags } from './store/lists.ts';
import { putBlob } from './store/put-blob.ts';
import { putManifest } from './store/put-manifest.ts';
import { getManifest, type ManifestCache, resolveManifest } from './store/read-manifest.ts';
import { deleteTag } from './store/tags.ts';
import { finishUpload } from './store/upload-finish.ts';
import { cancelUpload, startUpload, uploadStatus, writeUpload } from './store/uploads.ts';

export interface StoredRegistryOptions extends StoreContextOptions {
  /** Bytes of manifests kept in memory; default 64 MiB. */
  readonly manifestCacheBytes?: number;
}

/** The registry over an object store. Stateless: any number of them, in any number of processes, share one store. */
export function createStoredRegistry(options: StoredRegistryOptions): Registry {
  const context = createStoreContext(options);
  const cache: ManifestCache = new LRUCache({
    maxSize: options.manifestCacheBytes ?? 64 * 1024 * 1024,
    sizeCalculation: (bytes) => bytes.length + 512,
  });
  return withStoreErrors({
    getBlob: (...args) => getBlob(context, ...args),
    locateBlob: (...args) => locateBlob(context, ...args),
    resolveBlob: (...args) => resolveBlob(context, ...args),
    getManifest: (...args) => getManifest(context, cache, ...args),
    resolveManifest: (...args) => resolveManifest(context, ...args),
    startUpload: (...args) => startUpload(context, ...args),
    uploadStatus: (...args) => uploadStatus(context, ...args),
    writeUpload: (...args) => writeUpload(context, ...args),
    finishUpload: (repository, id, digest, body, write = {}) =>
      finishUpload(context, repository, id, digest, body, write),
    cancelUpload: (...args) => cancelUpload(context, ...args),
    putBlob: (...args) => putBlob(context, ...args),
    mountBlob: (...args) => mountBlob(context, ...args),
    putManifest: (...args) => putManifest(context, ...args),
    deleteBlob: (...args) => deleteBlob(context, ...args),
    deleteManifest: (...args) => deleteManifest(context, ...args),
    deleteTag: (...args) => deleteTag(context, ...args),
    listTags: (...args) => listTags(context, ...args),
    listRepositories: (...args) => listRepositories(context, ...args),
    listReferrers: (...args) => listReferrers(context, ...args),
  });
}

/** "The store could not answer" becomes UNAVAILABLE, never "not there". */
function withStoreErrors(registry: Registry): Registry {
  const translated = Object.entries(registry).map(([name, method]) => {
    const call = method as (...args: unknown[]) => Promise<unknown>;
    const wrapped = async (...args: unknown[]): Promise<unknown> => {
      try {
        return await call(...args);
      } catch (error) {
        if (error instanceof ObjectStoreUnavailable) throw new OciError('UNAVAILABLE', { cause: error });
        throw error;
      }
    };
    return [name, wrapped];
  });
  return Object.fromEntries(translated) as Registry;
}
