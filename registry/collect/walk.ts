import type { ListedObject, ObjectStore } from '../../core/object-store/object-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import {
  type BlobReference,
  catalogPrefix,
  parseBlobReference,
  parsePointerKey,
  type RepositoryKind,
  repositoryPrefix,
} from '../store/paths.ts';
import { tombstoneSize } from '../store/record.ts';

export interface WalkOptions {
  readonly prefix: string;
  /** Only keys after this one. */
  readonly startAfter?: string;
  /** Only keys before this one, which may be a part of a key. */
  readonly before?: string;
}

/** All keys with a prefix in byte order, one page of the store in memory at a time. Errors: ObjectStoreUnavailable. */
export async function* walkKeys(store: ObjectStore, options: WalkOptions): AsyncGenerator<ListedObject> {
  const { prefix, before } = options;
  let { startAfter } = options;
  for (;;) {
    const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    for (const object of page.objects) {
      if (before !== undefined && object.key >= before) return;
      yield object;
    }
    if (page.next === undefined || (before !== undefined && page.next >= before)) return;
    startAfter = page.next;
  }
}

/** The parts that follow `prefix` up to the next `/`, each once, of keys that go on behind it. */
export async function* walkFolders(store: ObjectStore, prefix: string): AsyncGenerator<string> {
  let startAfter: string | undefined;
  for (;;) {
    const page = await store.list({
      prefix,
      delimiter: '/',
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const folder of page.prefixes) yield folder.slice(prefix.length, -1);
    if (page.next === undefined) return;
    startAfter = page.next;
  }
}

/** True when at least one key has the prefix. */
export async function hasKeys(store: ObjectStore, prefix: string): Promise<boolean> {
  let startAfter: string | undefined;
  for (;;) {
    const page = await store.list({
      prefix,
      limit: 1,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    if (page.objects.length > 0) return true;
    // A store may answer with an empty page and a place to go on from.
    if (page.next === undefined) return false;
    startAfter = page.next;
  }
}

export interface ListedPointer {
  readonly digest: Digest;
  /** Of the pointer, not of the blob. */
  readonly object: ListedObject;
}

/** Every pointer that is no tombstone, by algorithm and digest. */
export async function* walkPointers(store: ObjectStore, options: WalkOptions): AsyncGenerator<ListedPointer> {
  for await (const object of walkKeys(store, options)) {
    const digest = object.size === tombstoneSize ? undefined : parsePointerKey(object.key);
    if (digest !== undefined) yield { digest, object };
  }
}

export interface ListedReferences {
  readonly digest: Digest;
  /** At most `referencesAtOnce`: a blob with more comes several times, one after the other. */
  readonly references: readonly BlobReference[];
}

/** A base layer may have millions. */
const referencesAtOnce = 1000;

/** References of blobs, blob by blob in the order of their digests. */
export async function* walkReferences(
  store: ObjectStore,
  options: WalkOptions,
): AsyncGenerator<ListedReferences> {
  let digest: Digest | undefined;
  let references: BlobReference[] = [];
  for await (const { key } of walkKeys(store, options)) {
    const reference = parseBlobReference(key);
    if (reference === undefined) continue;
    if (digest !== undefined && (digest !== reference.digest || references.length === referencesAtOnce)) {
      yield { digest, references };
      references = [];
    }
    digest = reference.digest;
    references.push(reference);
  }
  if (digest !== undefined) yield { digest, references };
}

export interface ListedRepository {
  readonly repository: string;
  /** True: it was deleted; something of it may be left. */
  readonly deleted: boolean;
}

/** Every repository that ever was complete, deleted ones too; only those after `after`. */
export async function* walkRepositories(
  store: ObjectStore,
  after?: string,
): AsyncGenerator<ListedRepository> {
  const start = after === undefined ? {} : { startAfter: `${catalogPrefix}${after}` };
  for await (const { key, size } of walkKeys(store, { prefix: catalogPrefix, ...start })) {
    yield { repository: key.slice(catalogPrefix.length), deleted: size === tombstoneSize };
  }
}

/** What a repository keeps of one kind, `key` being what follows the kind's prefix. */
export async function* walkRepository(
  context: Pick<StoreContext, 'store'>,
  repository: string,
  kind: RepositoryKind,
): AsyncGenerator<ListedObject> {
  const prefix = repositoryPrefix(repository, kind);
  for await (const object of walkKeys(context.store, { prefix })) {
    yield { ...object, key: object.key.slice(prefix.length) };
  }
}
