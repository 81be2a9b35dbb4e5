import { createLimit } from '../../oci/copy/limit.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { parseImageReference } from '../../oci/reference.ts';
import type { Reader } from '../../oci/registry.ts';
import type { TagRecord, TagRecords } from '../farm/tag-records.ts';
import { baseDigestAnnotation, baseNameAnnotation, revisionAnnotation } from '../image-annotations.ts';
import { found } from '../rebase/read-image.ts';

/** An image that a build here made, and the moving tags that name it. */
export interface Descendant {
  /** Of the app. */
  readonly repository: string;
  readonly digest: Digest;
  readonly base: { readonly repository: string; readonly channel: string; readonly digest: Digest };
  /** The commit that it was built of. */
  readonly revision?: string;
  readonly tags: readonly DescendantTag[];
}

export type DescendantTag = { readonly tag: string } & Pick<TagRecord, 'source' | 'sequence' | 'build'>;

const lookedAtOnce = 32;

/**
 * The images on the base images that `wanted` accepts, as tag records and the images' own annotations tell; in the order of their
 * repositories. A tag that somebody set by hand since is not one of them.
 */
export async function findDescendants(
  deps: { readonly registry: Reader; readonly records: Pick<TagRecords, 'entries'> },
  wanted: (base: { repository: string; channel: string }) => boolean,
): Promise<readonly Descendant[]> {
  const limit = createLimit(lookedAtOnce);
  const images = new Map<string, { repository: string; digest: Digest; tags: DescendantTag[] }>();
  for await (const { repository, tag, record } of deps.records.entries()) {
    const key = `${repository}@${record.digest}`;
    const image = images.get(key) ?? { repository, digest: record.digest, tags: [] };
    const { source, sequence, build } = record;
    image.tags.push({ tag, source, sequence, build });
    images.set(key, image);
  }
  const descendants = await Promise.all(
    [...images.values()].map(({ repository, digest, tags }) =>
      limit(async () => {
        const facts = await readFacts(deps.registry, repository, digest);
        if (facts === undefined || !wanted(facts.base)) return [];
        const present = await Promise.all(
          tags.map(async (each) =>
            (await found(() => deps.registry.resolveManifest(repository, each.tag)))?.digest === digest
              ? [each]
              : [],
          ),
        );
        return present.flat().length === 0 ? [] : [{ repository, digest, ...facts, tags: present.flat() }];
      }),
    ),
  );
  return descendants.flat();
}

/** Undefined: not there, or it does not say what it stands on. */
async function readFacts(
  registry: Reader,
  repository: string,
  digest: Digest,
): Promise<Pick<Descendant, 'base' | 'revision'> | undefined> {
  const content = await found(() => registry.getManifest(repository, digest));
  if (content === undefined) return undefined;
  const manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  let { annotations = {} } = manifest;
  const [first] = manifest.manifests;
  if (annotations[baseNameAnnotation] === undefined && first !== undefined) {
    const child = await found(() => registry.getManifest(repository, first.digest));
    if (child === undefined) return undefined;
    annotations = parseManifest(child.bytes, child.descriptor.mediaType).annotations ?? {};
  }
  const base = parseBaseName(annotations[baseNameAnnotation] ?? '');
  const baseDigest = annotations[baseDigestAnnotation] ?? '';
  if (base === undefined || !isDigest(baseDigest)) return undefined;
  const revision = annotations[revisionAnnotation];
  return { base: { ...base, digest: baseDigest }, ...(revision === undefined ? {} : { revision }) };
}

/** `baseimages/jdk:17`; undefined for what names no channel. */
export function parseBaseName(name: string): { repository: string; channel: string } | undefined {
  const reference = parseImageReference(name);
  if (reference?.tag === undefined) return undefined;
  return { repository: reference.repository, channel: reference.tag };
}
