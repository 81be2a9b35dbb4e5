import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';

const pageSize = 1000;

/** The first tag that `accepts` takes and that points at the manifest. Reads every such tag of the repository. */
export async function findTag(
  registry: Pick<Registry, 'listTags' | 'resolveManifest'>,
  repository: string,
  digest: Digest,
  accepts: (tag: string) => boolean,
): Promise<string | undefined> {
  let last: string | undefined;
  try {
    do {
      const from = last === undefined ? {} : { last };
      const page = await registry.listTags(repository, { limit: pageSize, ...from });
      for (const tag of page.entries) {
        if (!accepts(tag)) continue;
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
export function ignoreUnknown(error: unknown): undefined {
  if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
  throw error;
}
