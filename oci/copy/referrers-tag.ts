import type { Descriptor } from '../descriptor.ts';
import { type Digest, digestAlgorithm, digestHex } from '../digest.ts';
import { isOciError } from '../errors.ts';
import { type Manifest, referrerDescriptor } from '../manifest.ts';
import { mediaTypes } from '../media-types.ts';
import type { Reader, Writer } from '../registry.ts';

/** distribution-spec "Referrers Tag Schema": where a registry without the referrers API keeps the list of them. */
export function referrersTag(subject: Digest): string {
  return tagOf(subject).slice(0, 128);
}

/** Where cosign keeps signatures, attestations and bills of material on registries of any age. */
export function companionTags(subject: Digest): readonly string[] {
  // The tag of a sha512 digest would be longer than a tag may be.
  return digestAlgorithm(subject) === 'sha512'
    ? []
    : ['.sig', '.att', '.sbom'].map((suffix) => tagOf(subject) + suffix);
}

/**
 * distribution-spec "Pushing Manifests with Subject": on a registry that did not answer with OCI-Subject, whoever pushes keeps the list.
 * Two that do so at once may lose one entry: the registry has nothing to compare with, and this run does one after the other.
 */
export async function addToReferrersTag(
  target: Pick<Reader, 'getManifest'> & Pick<Writer, 'putManifest'>,
  repository: string,
  subject: Digest,
  referrer: { readonly manifest: Manifest; readonly digest: Digest; readonly size: number },
): Promise<void> {
  const tag = referrersTag(subject);
  const known = await readEntries(target, repository, tag);
  if (known.some(({ digest }) => digest === referrer.digest)) return;
  const manifests = [...known, referrerDescriptor(referrer.manifest, referrer.digest, referrer.size)];
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  await target.putManifest(repository, tag, Buffer.from(JSON.stringify(index)), mediaTypes.ociIndex);
}

async function readEntries(
  target: Pick<Reader, 'getManifest'>,
  repository: string,
  tag: string,
): Promise<readonly Descriptor[]> {
  try {
    const { bytes } = await target.getManifest(repository, tag);
    const { manifests } = JSON.parse(bytes.toString('utf8')) as { manifests?: readonly Descriptor[] };
    return manifests ?? [];
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return [];
    throw error;
  }
}

function tagOf(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}`;
}
