import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts';

/**
 * Every key that the registry writes. Nothing else in the house spells one.
 *
 *   data/<2hex>/<unique id>                                bytes, written once, never overwritten
 *   blobs/<alg>/<hex>                                      pointer {live|condemned|deleting, nonce, gen, dataKey|inline, size, home}
 *   repos/<name>/_blobs/<alg>:<hex>                        membership link {gen}: the right to read this blob here
 *   repos/<name>/_manifests/<alg>:<hex>                    record {pending|committed|condemned, nonce, attempt, …} + exact bytes
 *   repos/<name>/_tags/<tag>                               {nonce, digest, mediaType, size}
 *   repos/<name>/_tagsof/<digest>/<tag>#<tag nonce>        reverse of exactly that version of the tag
 *   repos/<name>/_referrers/<subject>/<digest>#<attempt>   descriptor, ready to serve
 *   repos/<name>/_mrefs/<child manifest>/<parent>#<attempt>
 *   refs/<alg>/<hex>/<manifest digest>#<attempt>/<name>    empty: this attempt in this repository needs this blob
 *   catalog/<name>                                         the repository exists
 *   uploads/<id>                                           upload session
 *
 * Names are stored raw: a repository's part never starts with `_`, so nothing collides, and the byte order of the keys is
 * the order that the specification wants for listings.
 */
export function dataKey(id: string): string {
  return `data/${id.slice(0, 2)}/${id}`;
}

export function pointerKey(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

export function linkKey(repository: string, digest: Digest): string {
  return `repos/${repository}/_blobs/${digest}`;
}

export function manifestKey(repository: string, digest: Digest): string {
  return `repos/${repository}/_manifests/${digest}`;
}

export function tagPrefix(repository: string): string {
  return `repos/${repository}/_tags/`;
}

export function tagKey(repository: string, tag: string): string {
  return `${tagPrefix(repository)}${tag}`;
}

export function tagsOfPrefix(repository: string, digest: Digest): string {
  return `repos/${repository}/_tagsof/${digest}/`;
}

/** `nonce` is that of the tag's version which this entry is the reverse of. */
export function tagOfKey(repository: string, digest: Digest, tag: string, nonce: string): string {
  return `${tagsOfPrefix(repository, digest)}${tag}#${nonce}`;
}

export function referrersPrefix(repository: string, subject: Digest): string {
  return `repos/${repository}/_referrers/${subject}/`;
}

export function referrerKey(repository: string, subject: Digest, digest: Digest, attempt: string): string {
  return `${referrersPrefix(repository, subject)}${digest}#${attempt}`;
}

export function manifestReferenceKey(
  repository: string,
  child: Digest,
  parent: Digest,
  attempt: string,
): string {
  return `repos/${repository}/_mrefs/${child}/${parent}#${attempt}`;
}

export function blobReferencesPrefix(digest: Digest): string {
  return `refs/${digestAlgorithm(digest)}/${digestHex(digest)}/`;
}

export function blobReferenceKey(
  digest: Digest,
  manifest: Digest,
  attempt: string,
  repository: string,
): string {
  return `${blobReferencesPrefix(digest)}${manifest}#${attempt}/${repository}`;
}

export const catalogPrefix = 'catalog/';

export function catalogKey(repository: string): string {
  return `${catalogPrefix}${repository}`;
}

export const uploadsPrefix = 'uploads/';

export function uploadKey(id: string): string {
  return `${uploadsPrefix}${id}`;
}

/** `<before>#<after>`, the shape of the last part of several keys. Undefined when `text` has no `#`. */
export function splitVersion(text: string): { name: string; version: string } | undefined {
  const hash = text.lastIndexOf('#');
  return hash < 0 ? undefined : { name: text.slice(0, hash), version: text.slice(hash + 1) };
}
