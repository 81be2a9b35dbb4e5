import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';

export type ManifestEvent =
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
  | { readonly action: 'untag'; readonly repository: string; readonly tag: string };

/**
 * Tells of every manifest that was pushed or deleted, after it is durable. Best effort: an event is lost with the process.
 * `onManifest` must neither throw nor take long; the client's answer waits for it.
 */
export function announcing(registry: Registry, onManifest: (event: ManifestEvent) => void): Registry {
  return {
    ...registry,
    async putManifest(repository, ...args) {
      const result = await registry.putManifest(repository, ...args);
      const { descriptor, tags, subject } = result;
      const { digest, mediaType, size } = descriptor;
      const about = subject === undefined ? {} : { subject };
      onManifest({ action: 'push', repository, digest, mediaType, size, tags, ...about });
      return result;
    },
    async deleteManifest(repository, digest) {
      await registry.deleteManifest(repository, digest);
      onManifest({ action: 'delete', repository, digest });
    },
    async deleteTag(repository, tag) {
      await registry.deleteTag(repository, tag);
      onManifest({ action: 'untag', repository, tag });
    },
  };
}
