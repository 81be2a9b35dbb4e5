import { type Digest, digestOf } from '../../oci/digest.ts';
import {
  childrenIn,
  isManifestReadable,
  readableManifests,
  readSessions,
  readStored,
  readTags,
} from './stored.ts';
import type { StoreState } from './world.ts';

export interface InvariantOptions {
  /** Somebody in this scenario takes rights to blobs away, as is his right. */
  readonly linksMayGo?: boolean | 'for a while';
  /**
   * Default true: also look for what no collector, no DELETE has used yet (a readable manifest without its references, a tag
   * without its reverse entry), and for litter. Off where a test wants to see the loss itself.
   */
  readonly protection?: boolean;
  /** Default false: also count the bytes of open upload sessions. */
  readonly uploads?: boolean;
}

/** What has to hold at every moment, whoever dies. Every text is a violation and begins with its kind. */
export function checkAlways(store: StoreState, options: InvariantOptions = {}): string[] {
  const texts: string[] = [];
  for (const { repository, digest, header, payload } of readableManifests(store)) {
    if (digestOf(payload) !== digest) texts.push(`loss: the bytes of ${digest} are others`);
    const { blobs, manifests } = childrenIn(payload);
    for (const blob of blobs) {
      const pointer = pointerOf(store, blob);
      const fault = faultOf(store, blob);
      if (fault !== undefined)
        texts.push(`loss: ${short(digest)} in ${repository} is readable and its blob ${fault}`);
      const link = readStored(store, `repos/${repository}/_blobs/${blob}`);
      const opens = link !== undefined && link.header.gen === pointer?.header.gen;
      if (!opens && (link !== undefined || (options.linksMayGo ?? false) === false)) {
        texts.push(
          `right: ${short(digest)} in ${repository} names ${short(blob)} which its link does not open`,
        );
      }
      const reference = `refs/sha256/${blob.slice(7)}/${digest}#${header.attempt}/${repository}`;
      if (options.protection !== false && !store.entries.has(reference)) {
        texts.push(`unprotected: ${short(digest)} in ${repository} has no reference to ${short(blob)}`);
      }
    }
    for (const child of manifests) {
      const reference = `repos/${repository}/_mrefs/${child}/${digest}#${header.attempt}`;
      if (options.protection !== false && !store.entries.has(reference)) {
        texts.push(`unprotected: index ${short(digest)} has no reference to ${short(child)}`);
      }
    }
  }
  for (const { repository, tag, digest, nonce } of options.protection === false ? [] : readTags(store)) {
    if (store.entries.has(`repos/${repository}/_tagsof/${digest}/${tag}#${nonce}`)) continue;
    texts.push(`reverse: the tag ${tag} → ${short(digest)} has no reverse entry, a DELETE would leave it`);
  }
  return options.uploads === true ? [...texts, ...checkUploads(store)] : texts;
}

/** The bytes that an open session says it has were acknowledged. */
function checkUploads(store: StoreState): string[] {
  const texts: string[] = [];
  for (const { key, offset, kept } of readSessions(store)) {
    if (kept < offset) texts.push(`loss: ${key} says ${offset} bytes, ${kept} are kept`);
  }
  return texts;
}

/** Tags that lead nowhere. Only somebody who died, or is still at it, may have left one. */
export function checkTags(store: StoreState): string[] {
  return readTags(store)
    .filter(({ repository, digest }) => !isManifestReadable(store, repository, digest))
    .map(({ tag, digest }) => `dangling: the tag ${tag} leads to ${short(digest)} which is not there`);
}

/** What only somebody who died, or was told that an outcome is unknown, may leave. */
export function checkLitter(store: StoreState): string[] {
  const texts: string[] = [];
  const tags = new Set(
    readTags(store).map(
      ({ repository, tag, digest, nonce }) => `repos/${repository}/_tagsof/${digest}/${tag}#${nonce}`,
    ),
  );
  const attempts = new Set(
    readableManifests(store).map(({ digest, header }) => `${digest}#${header.attempt}`),
  );
  const data = new Set<string | undefined>();
  for (const key of store.entries.keys()) {
    if (/^(?:blobs|uploads)\//.test(key)) data.add(readStored(store, key)?.header.dataKey);
  }
  for (const key of store.entries.keys()) {
    if (key.includes('/_tagsof/') && !tags.has(key)) texts.push(`litter: the reverse entry ${key}`);
    if (key.startsWith('refs/') && !attempts.has(key.split('/')[3] ?? '')) texts.push(`litter: ${key}`);
    if (key.startsWith('data/') && !data.has(key)) texts.push(`litter: ${key} is no blob's`);
  }
  return texts;
}

function pointerOf(store: StoreState, blob: Digest) {
  return readStored(store, `blobs/sha256/${blob.slice(7)}`);
}

/** Why the bytes of a blob cannot be read; undefined = they can. */
export function faultOf(store: StoreState, blob: Digest): string | undefined {
  const pointer = pointerOf(store, blob);
  if (pointer === undefined) return `${short(blob)} has no pointer`;
  if (pointer.header.state === 'deleting') return `${short(blob)} is being deleted`;
  const { dataKey } = pointer.header;
  const bytes = dataKey === undefined ? pointer.payload : store.entries.get(dataKey)?.body;
  if (bytes === undefined) return `${short(blob)} has lost its bytes`;
  return digestOf(bytes) === blob ? undefined : `${short(blob)} has other bytes`;
}

/** Readable in the repository: right and bytes. */
export function isBlobReadable(store: StoreState, repository: string, blob: Digest): boolean {
  const link = readStored(store, `repos/${repository}/_blobs/${blob}`);
  return (
    link !== undefined &&
    link.header.gen === pointerOf(store, blob)?.header.gen &&
    faultOf(store, blob) === undefined
  );
}

export function short(digest: Digest): string {
  return digest.slice(0, 13);
}
