import { createLimit } from '../../oci/copy/limit.ts';
import { type Digest, digestHex } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';
import { found } from '../rebase/read-image.ts';

const immutable = /-([0-9a-f]{8})$/;

/** Tags of a base image that move: the others name one build for ever, or sources that are kept (`sha256-…`). */
export function isChannel(tag: string): boolean {
  return !immutable.test(tag) && !/^sha(?:256|512)-/.test(tag);
}

/** Every tag of a repository; none where it is not there. */
export async function* tagsOf(registry: Registry, repository: string): AsyncGenerator<string> {
  let last: string | undefined;
  do {
    const page = await found(() =>
      registry.listTags(repository, { limit: 1000, ...(last === undefined ? {} : { last }) }),
    );
    yield* page?.entries ?? [];
    last = page?.next;
  } while (last !== undefined);
}

/** Eight hex digits that name a base image in tags: those of its immutable tag `<version>-<key8>`, else the first of its digest. */
export async function baseKeyOf(registry: Registry, repository: string, digest: Digest): Promise<string> {
  const limit = createLimit(16);
  const candidates: string[] = [];
  for await (const tag of tagsOf(registry, repository)) if (!isChannel(tag)) candidates.push(tag);
  const keys = await Promise.all(
    candidates.map((tag) =>
      limit(async () => {
        const key = immutable.exec(tag)?.[1];
        const resolved = key && (await found(() => registry.resolveManifest(repository, tag)));
        return resolved !== undefined && resolved !== '' && resolved.digest === digest ? key : undefined;
      }),
    ),
  );
  return keys.find((key) => key !== undefined) ?? digestHex(digest).slice(0, 8);
}
