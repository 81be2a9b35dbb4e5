import { OciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';

/** Reads pass, everything else is UNSUPPORTED: for replicas under maintenance and for pulled-through copies. */
export function readOnly(registry: Registry): Registry {
  const refuse = async (): Promise<never> => {
    throw new OciError('UNSUPPORTED', { message: 'this registry is read-only' });
  };
  const locateBlob = registry.locateBlob?.bind(registry);
  return {
    getBlob: (...args) => registry.getBlob(...args),
    ...(locateBlob === undefined ? {} : { locateBlob }),
    resolveBlob: (...args) => registry.resolveBlob(...args),
    getManifest: (...args) => registry.getManifest(...args),
    resolveManifest: (...args) => registry.resolveManifest(...args),
    listTags: (...args) => registry.listTags(...args),
    listRepositories: (...args) => registry.listRepositories(...args),
    listReferrers: (...args) => registry.listReferrers(...args),
    startUpload: refuse,
    uploadStatus: refuse,
    writeUpload: refuse,
    finishUpload: refuse,
    cancelUpload: refuse,
    putBlob: refuse,
    mountBlob: refuse,
    putManifest: refuse,
    deleteBlob: refuse,
    deleteManifest: refuse,
    deleteTag: refuse,
  };
}
