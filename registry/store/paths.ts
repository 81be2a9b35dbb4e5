import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../oci/digest.ts';

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
 *   gcq/new/<id>                                           hint {what somebody stopped needing}, written best effort
 *   gcq/due/<time>-<id>                                    hint {what was condemned at that time}
 *   gcq/{lease,clock,state}                                who collects, the store's time, what was done last
 *
 * Names are stored raw: a repository's part never starts with `_`, so nothing collides, and the byte order of the keys is
 * the order that the specification wants for listings.
 */
export function dataKey(id: string): string {
  return `data/${id.slice(0, 2)}/${id}`;
}

/** For the bytes of an upload session; whoever begins to write them takes a key of his own. */
export function uploadDataKey(id: string, random: string): string {
  return dataKey(`${id.slice(-16)}${random.slice(-16)}`);
}

/** What all data keys of an upload session begin with. */
export function uploadDataPrefix(id: string): string {
  return dataKey(id.slice(-16));
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

/** True for the keys of repositories under `prefix/`, not for those of a repository that is called `prefix`. */
export function isUnder(key: string, prefix: string): boolean {
  const start = `repos/${prefix}/`;
  return key.startsWith(start) && key[start.length] !== '_';
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

export function manifestReferencesPrefix(repository: string, child: Digest): string {
  return `repos/${repository}/_mrefs/${child}/`;
}

export function manifestReferenceKey(
  repository: string,
  child: Digest,
  parent: Digest,
  attempt: string,
): string {
  return `${manifestReferencesPrefix(repository, child)}${parent}#${attempt}`;
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

/** The kinds of things below a repository. */
export type RepositoryKind = '_blobs' | '_manifests' | '_tags' | '_tagsof' | '_referrers' | '_mrefs';

export function repositoryPrefix(repository: string, kind: RepositoryKind): string {
  return `repos/${repository}/${kind}/`;
}

export const pointersPrefix = 'blobs/';
export const referencesPrefix = 'refs/';

/** Undefined: no pointer's key. */
export function parsePointerKey(key: string): Digest | undefined {
  const digest = key.slice(pointersPrefix.length).replace('/', ':');
  return key.startsWith(pointersPrefix) && isDigest(digest) ? digest : undefined;
}

/** A reference of a blob, by its key. */
export interface BlobReference {
  readonly key: string;
  readonly digest: Digest;
  readonly manifest: Digest;
  readonly attempt: string;
  readonly repository: string;
}

/** Undefined: no reference's key. */
export function parseBlobReference(key: string): BlobReference | undefined {
  const match = /^refs\/([^/]+)\/([^/]+)\/([^/#]+)#([^/#]+)\/(.+)$/.exec(key);
  if (match === null) return undefined;
  const [, algorithm = '', hex = '', manifest = '', attempt = '', repository = ''] = match;
  const digest = `${algorithm}:${hex}`;
  if (!isDigest(digest) || !isDigest(manifest)) return undefined;
  return { key, digest, manifest, attempt, repository };
}

/** What follows `_mrefs/` and `_referrers/`, which have one shape. Undefined: no such key. */
export function parseManifestReferenceKey(
  text: string,
): { target: Digest; manifest: Digest; attempt: string } | undefined {
  const [target = '', rest = ''] = text.split('/');
  const version = splitVersion(rest);
  if (version === undefined || !isDigest(target) || !isDigest(version.name)) return undefined;
  return { target, manifest: version.name, attempt: version.version };
}

/** What follows `_tagsof/`. Undefined: no such key. */
export function parseTagOfKey(text: string): { digest: Digest; tag: string; nonce: string } | undefined {
  const [digest = '', rest = ''] = text.split('/');
  const version = splitVersion(rest);
  if (version === undefined || !isDigest(digest)) return undefined;
  return { digest, tag: version.name, nonce: version.version };
}

export const newHintsPrefix = 'gcq/new/';

/** `id` is random: no two writers of hints ever share a key, so one that was worked off can be deleted without looking. */
export function newHintKey(id: string): string {
  return `${newHintsPrefix}${id}`;
}

export const dueHintsPrefix = 'gcq/due/';

/** `time`: milliseconds since the epoch by the store's clock, in an order that is that of time. */
export function dueHintKey(time: number, id: string): string {
  return `${dueHintsPrefix}${String(time).padStart(15, '0')}-${id}`;
}

export const leaseKey = 'gcq/lease';
export const clockKey = 'gcq/clock';
export const collectionStateKey = 'gcq/state';

/** `<before>#<after>`, the shape of the last part of several keys. Undefined when `text` has no `#`. */
export function splitVersion(text: string): { name: string; version: string } | undefined {
  const hash = text.lastIndexOf('#');
  return hash < 0 ? undefined : { name: text.slice(0, hash), version: text.slice(hash + 1) };
}
