import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';

export type RegistryChange =
  | {
      readonly action: 'push';
      readonly repository: string;
      readonly digest: Digest;
      readonly mediaType: string;
      /** Bytes of the manifest. */
      readonly size: number;
      /** Tags that this push set. */
      readonly tags: readonly string[];
      readonly subject?: Digest;
    }
  | { readonly action: 'delete'; readonly repository: string; readonly digest: Digest }
  | { readonly action: 'untag'; readonly repository: string; readonly tag: string }
  /** A blob left the repository. */
  | { readonly action: 'unlink'; readonly repository: string; readonly digest: Digest };

/**
 * Tells of every manifest that was pushed or deleted, and of every blob that was taken away, after it is durable. Best effort: an event is
 * lost with the process. `onChange` must neither throw nor take long; the client's answer waits for it.
 */
export function announcing(registry: Registry, onChange: (change: RegistryChange) => void): Registry {
  return {
    ...registry,
    async putManifest(repository, ...args) {
      const result = await registry.putManifest(repository, ...args);
      const { descriptor, tags, subject } = result;
      const { digest, mediaType, size } = descriptor;
      const about = subject === undefined ? {} : { subject };
      onChange({ action: 'push', repository, digest, mediaType, size, tags, ...about });
      return result;
    },
    async deleteManifest(repository, digest) {
      await registry.deleteManifest(repository, digest);
      onChange({ action: 'delete', repository, digest });
    },
    async deleteTag(repository, tag) {
      await registry.deleteTag(repository, tag);
      onChange({ action: 'untag', repository, tag });
    },
    async deleteBlob(repository, digest) {
      await registry.deleteBlob(repository, digest);
      onChange({ action: 'unlink', repository, digest });
    },
  };
}
