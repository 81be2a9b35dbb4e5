import { isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';
import { findTag } from './find-tag.ts';

/**
 * Tags that match a pattern are created once and never moved or removed; pushing the same manifest again succeeds.
 * A pattern is `<repository>:<tag>`; `*` stands for any characters but `/`, `**` for any at all: `team/*:v*`, `**:release-*`.
 * Errors: DENIED.
 */
export function immutableTags(registry: Registry, patterns: readonly string[]): Registry {
  const expressions = patterns.map(toExpression);
  const isImmutable = (repository: string, tag: string): boolean =>
    expressions.some((expression) => expression.test(`${repository}:${tag}`));
  return {
    ...registry,
    putManifest(repository, reference, bytes, mediaType, options = {}) {
      const tags = [...(isDigest(reference) ? [] : [reference]), ...(options.tags ?? [])];
      const fixed = tags.filter((tag) => isImmutable(repository, tag));
      const immutable = [...(options.immutableTags ?? []), ...fixed];
      return registry.putManifest(repository, reference, bytes, mediaType, {
        ...options,
        immutableTags: immutable,
      });
    },
    async deleteTag(repository, tag) {
      if (isImmutable(repository, tag)) throw denied(tag);
      await registry.deleteTag(repository, tag);
    },
    async deleteManifest(repository, digest) {
      const tag = await findTag(registry, repository, digest, (each) => isImmutable(repository, each));
      if (tag !== undefined) throw denied(tag);
      await registry.deleteManifest(repository, digest);
    },
  };
}

function toExpression(pattern: string): RegExp {
  const parts = pattern.split(/(\*\*|\*)/).map((part) => {
    if (part === '**') return '.*';
    return part === '*' ? '[^/]*' : part.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
  });
  return new RegExp(`^${parts.join('')}$`);
}

function denied(tag: string): OciError {
  return new OciError('DENIED', { message: `the tag ${tag} is immutable` });
}
