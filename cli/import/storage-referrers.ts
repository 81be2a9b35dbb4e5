import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Lister } from '../../oci/registry.ts';

export interface StorageReferrersDeps {
  listManifests(repository: string): AsyncIterable<Digest>;
  /** Errors: OciError. */
  readManifest(digest: Digest): Promise<Buffer>;
  onNotice(notice: string): void;
}

/** Repositories whose referrers are remembered: a run goes through one after the other. */
const maxRepositories = 16;

/**
 * docker-registry 2 has no list of referrers: they are untagged manifests with a `subject`, so all manifests of a repository are read once.
 * Media types are not told from the content here; whoever copies reads the manifests themselves.
 */
export function createStorageReferrers(deps: StorageReferrersDeps): Lister['listReferrers'] {
  const known = new Map<string, Promise<ReadonlyMap<Digest, readonly Descriptor[]>>>();

  return async (repository, digest, { limit, last, artifactType }) => {
    // What would have to be read for it is left to whoever reads the manifests.
    if (artifactType !== undefined) throw new OciError('UNSUPPORTED');
    const found = known.get(repository) ?? readAll(repository);
    if (!known.has(repository) && known.size >= maxRepositories) {
      const [oldest] = known.keys();
      if (oldest !== undefined) known.delete(oldest);
    }
    known.set(repository, found);
    const all = (await found).get(digest) ?? [];
    const rest = all.filter((entry) => last === undefined || entry.digest > last);
    const entries = rest.slice(0, limit);
    const end = entries.at(-1);
    return end === undefined || rest.length <= limit ? { entries } : { entries, next: end.digest };
  };

  async function readAll(repository: string): Promise<ReadonlyMap<Digest, readonly Descriptor[]>> {
    const referrers = new Map<Digest, Descriptor[]>();
    for await (const digest of deps.listManifests(repository)) {
      let bytes: Buffer;
      try {
        bytes = await deps.readManifest(digest);
      } catch (error) {
        if (!(error instanceof OciError)) throw error;
        deps.onNotice(
          `${repository}@${digest} cannot be read, so it is not known whether it is a signature: ${error.message}`,
        );
        continue;
      }
      const subject = subjectOf(bytes);
      if (subject === undefined) continue;
      const entry = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
      referrers.set(subject, [...(referrers.get(subject) ?? []), entry]);
    }
    for (const entries of referrers.values()) entries.sort((a, b) => (a.digest < b.digest ? -1 : 1));
    return referrers;
  }
}

function subjectOf(bytes: Buffer): Digest | undefined {
  // Nearly no manifest has one, and parsing all would be most of the work.
  if (!bytes.includes('"subject"')) return undefined;
  try {
    const { subject } = JSON.parse(bytes.toString('utf8')) as { subject?: { digest?: unknown } };
    const digest = subject?.digest;
    return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
  } catch {
    return undefined;
  }
}
