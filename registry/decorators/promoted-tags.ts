import { digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';
import type { PromotionPolicy } from '../promote/promotion-policy.ts';
import { findTag, ignoreUnknown } from './find-tag.ts';

export interface PromotedTagsOptions {
  readonly policy: Pick<PromotionPolicy, 'protects' | 'concerns'>;
  /** Whether whoever asks may remove protected tags and the images under them: somebody must be able to end them. */
  readonly mayRemove: (repository: string) => boolean;
}

/**
 * Tags that a policy protects are set by promotions alone, which write past this decorator. Pushing what such a tag names already succeeds.
 * Errors: DENIED, with what to do instead.
 */
export function promotedTags(registry: Registry, { policy, mayRemove }: PromotedTagsOptions): Registry {
  return {
    ...registry,
    async putManifest(repository, reference, bytes, mediaType, options = {}) {
      const tags = [...(isDigest(reference) ? [] : [reference]), ...(options.tags ?? [])];
      const wanted = tags.filter((tag) => policy.protects(repository, tag));
      if (wanted.length === 0) return registry.putManifest(repository, reference, bytes, mediaType, options);
      const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
      for (const tag of wanted) {
        const now = await registry.resolveManifest(repository, tag).catch(ignoreUnknown);
        if (now?.digest === digest) continue;
        throw new OciError('DENIED', {
          message: `the tag ${tag} takes tested images only: push under another tag, then "brickyard images promote ${repository}@${digest} ${tag}"`,
        });
      }
      // A promotion in between must not be taken back.
      const immutableTags = [...(options.immutableTags ?? []), ...wanted];
      return registry.putManifest(repository, reference, bytes, mediaType, { ...options, immutableTags });
    },
    async deleteTag(repository, tag) {
      if (policy.protects(repository, tag) && !mayRemove(repository)) throw kept(repository, tag);
      await registry.deleteTag(repository, tag);
    },
    async deleteManifest(repository, digest) {
      if (policy.concerns(repository) && !mayRemove(repository)) {
        const accepts = (tag: string): boolean => policy.protects(repository, tag);
        const tag = await findTag(registry, repository, digest, accepts);
        if (tag !== undefined) throw kept(repository, tag);
      }
      await registry.deleteManifest(repository, digest);
    },
  };
}

function kept(repository: string, tag: string): OciError {
  return new OciError('DENIED', {
    message: `${repository}:${tag} is protected by a rule of registry.promotion; who has the right "admin" there may delete it`,
  });
}
