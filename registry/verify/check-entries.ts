import { isDigest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import type { LinkHeader } from '../store/link.ts';
import {
  type BlobReference,
  linkKey,
  type RepositoryKind,
  repositoryPrefix,
  splitVersion,
  tagKey,
  tagOfKey,
} from '../store/paths.ts';
import type { TagHeader } from '../store/tags.ts';
import { type Finding, finding } from './finding.ts';
import { type Lookups, lookUpManifest, lookUpPointer, readChecked } from './lookups.ts';

/** A tag: its manifest is there, and its reverse, which whoever deletes the manifest goes by. */
export async function checkTag(
  context: StoreContext,
  repository: string,
  tag: string,
  look: Lookups,
): Promise<Finding[]> {
  const key = tagKey(repository, tag);
  const { header } = await readChecked<TagHeader>(context, key);
  if (header === undefined) return [];
  const { digest, nonce } = header;
  const [record, reverse] = await Promise.all([
    lookUpManifest(look, repository, digest),
    context.store.head(tagOfKey(repository, digest, tag, nonce)),
  ]);
  const found: Finding[] = [];
  if (record.header === undefined || record.header.state === 'pending') {
    const why =
      record.header !== undefined
        ? 'is being pushed'
        : record.etag === undefined
          ? 'is not there'
          : 'was deleted';
    found.push(finding('dangling-tag', key, `${digest} ${why}`, nonce));
  }
  if (reverse === undefined) found.push(finding('tag-without-reverse', key, '', nonce));
  return found;
}

/** `entry`: what follows `_blobs/`. */
export async function checkLink(repository: string, entry: string, look: Lookups): Promise<Finding[]> {
  if (!isDigest(entry)) return [unknown(repository, '_blobs', entry)];
  const key = linkKey(repository, entry);
  const [link, pointer] = await Promise.all([look.record<LinkHeader>(key), lookUpPointer(look, entry)]);
  if (link.header === undefined || link.header.gen === pointer.header?.gen) return [];
  return [finding('dead-link', key, '', link.header.nonce)];
}

/** `entry`: what follows `_tagsof/`: `<digest>/<tag>#<nonce>`. */
export async function checkReverse(repository: string, entry: string, look: Lookups): Promise<Finding[]> {
  const version = splitVersion(entry);
  const slash = version?.name.indexOf('/') ?? -1;
  const digest = version?.name.slice(0, slash) ?? '';
  if (version === undefined || slash < 0 || !isDigest(digest)) return [unknown(repository, '_tagsof', entry)];
  const tag = version.name.slice(slash + 1);
  const { header } = await look.record<TagHeader>(tagKey(repository, tag));
  if (header?.nonce === version.version && header.digest === digest) return [];
  return [finding('reverse-without-tag', `${repositoryPrefix(repository, '_tagsof')}${entry}`)];
}

/** `entry`: what follows `_mrefs/` or `_referrers/`: `<other digest>/<digest>#<attempt>`. */
export async function checkAttempt(
  repository: string,
  kind: '_mrefs' | '_referrers',
  entry: string,
  look: Lookups,
): Promise<Finding[]> {
  const version = splitVersion(entry.slice(entry.indexOf('/') + 1));
  if (version === undefined || !isDigest(version.name) || !isDigest(entry.split('/', 1)[0] ?? ''))
    return [unknown(repository, kind, entry)];
  const { header } = await lookUpManifest(look, repository, version.name);
  if (header?.attempt === version.version) return [];
  const dead = kind === '_mrefs' ? 'dead-reference' : 'dead-referrer';
  return [finding(dead, `${repositoryPrefix(repository, kind)}${entry}`)];
}

export async function checkReference(reference: BlobReference, look: Lookups): Promise<Finding[]> {
  const { repository, manifest, attempt, key } = reference;
  const { header } = await lookUpManifest(look, repository, manifest);
  return header?.attempt === attempt ? [] : [finding('dead-reference', key)];
}

function unknown(repository: string, kind: RepositoryKind, entry: string): Finding {
  return finding('unknown-key', `${repositoryPrefix(repository, kind)}${entry}`);
}
