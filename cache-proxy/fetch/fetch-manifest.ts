import { readBytes } from '../../oci/client/answers.ts';
import { digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { acceptOfClass } from './accept-class.ts';
import { OriginAway, type OriginLink } from './origin-link.ts';

export interface ManifestQuestion {
  readonly repository: string;
  /** A digest or a tag. */
  readonly reference: string;
  /** Of the answer that lies in the cache. */
  readonly ifNoneMatch?: string;
  /** Which kinds the client takes; see `acceptClass`. */
  readonly accept: string;
}

export interface ManifestAnswer {
  /** 200, 304, or what a registry says of a manifest that it does not give. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty but for 200. */
  readonly body: Buffer;
}

/** Registries take no larger ones. */
const maxBytes = 4 * 1024 * 1024;
/** Whoever has an old answer need not wait as long for a new one. */
const patience = { cold: 4_400, revalidation: 2_600 } as const;

/**
 * A manifest, whole or not at all, and right where its digest is known: what is wrong or breaks off must not take the place of what the cache has.
 * Errors: OriginAway.
 */
export async function fetchManifest(link: OriginLink, question: ManifestQuestion): Promise<ManifestAnswer> {
  const { repository, reference, ifNoneMatch, accept } = question;
  const byDigest = isDigest(reference);
  const types = byDigest ? acceptOfClass('imlda') : acceptOfClass(accept);
  const limit = ifNoneMatch === undefined ? patience.cold : patience.revalidation;
  const answer = await link.fetch({
    path: `/v2/${repository}/manifests/${reference}`,
    headers: {
      'accept-encoding': 'identity',
      ...(types === undefined ? {} : { accept: types }),
      ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
    },
    repository,
    patience: limit,
  });
  const { status, headers, body } = answer;
  if (status !== 200) {
    body.resume();
    const etag = headers.etag;
    return { status, headers: etag === undefined ? {} : { etag }, body: Buffer.of() };
  }
  let bytes: Buffer;
  try {
    bytes = await readBytes(body, maxBytes);
  } catch (error) {
    body.destroy();
    const what = error instanceof OciError ? error.message : String(error);
    throw new OriginAway(`${answer.url.host}: ${what}`);
  }
  const told = headers['docker-content-digest'];
  const wanted = byDigest ? reference : typeof told === 'string' && isDigest(told) ? told : undefined;
  const digest = wanted ?? digestOf(bytes);
  if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
    throw new OriginAway(`${answer.url.host} sent other bytes than ${digest}`);
  }
  return {
    status,
    headers: {
      'content-type': headers['content-type'] ?? 'application/octet-stream',
      'docker-content-digest': digest,
      // Without one the tag's bytes would come again with every pull. What a registry does not send it does not understand either.
      ...(headers.etag === undefined ? {} : { etag: headers.etag }),
      ...(headers['last-modified'] === undefined ? {} : { 'last-modified': headers['last-modified'] }),
    },
    body: bytes,
  };
}
