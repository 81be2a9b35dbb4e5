import type { Digest } from '../../oci/digest.ts';
import { isDigest } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';

const pageSize = 1000;

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
      const tag = await immutableTagOf(registry, repository, digest, isImmutable);
      if (tag !== undefined) throw denied(tag);
      await registry.deleteManifest(repository, digest);
    },
  };
}

async function immutableTagOf(
  registry: Registry,
  repository: string,
  digest: Digest,
  isImmutable: (repository: string, tag: string) => boolean,
): Promise<string | undefined> {
  let last: string | undefined;
  try {
    do {
      const from = last === undefined ? {} : { last };
      const page = await registry.listTags(repository, { limit: pageSize, ...from });
      for (const tag of page.entries) {
        if (!isImmutable(repository, tag)) continue;
        const target = await registry.resolveManifest(repository, tag).catch(ignoreUnknown);
        if (target?.digest === digest) return tag;
      }
      last = page.next;
    } while (last !== undefined);
  } catch (error) {
    ignoreUnknown(error);
  }
  return undefined;
}

/** A tag or repository that went away meanwhile is in nobody's way. */
function ignoreUnknown(error: unknown): undefined {
  if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
  throw error;
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
