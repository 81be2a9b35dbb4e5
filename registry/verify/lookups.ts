import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import type { ManifestHeader } from '../store/manifest-record.ts';
import { manifestKey, pointerKey } from '../store/paths.ts';
import type { PointerHeader } from '../store/pointer.ts';
import { type RecordHeader, readRecord } from '../store/record.ts';

/** A record without its payload. No header and an etag: a tombstone; neither: nothing is there. */
export interface Seen<H extends RecordHeader> {
  readonly etag: string | undefined;
  readonly header: H | undefined;
}

/** How checks read what several of them need. */
export interface Lookups {
  /** Errors: UnreadableRecord. */
  record<H extends RecordHeader>(key: string): Promise<Seen<H>>;
}

/** The object cannot be understood as a record. */
export class UnreadableRecord extends Error {
  override readonly name = 'UnreadableRecord';
  readonly key: string;
  constructor(key: string, cause: unknown) {
    super(`${key}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.key = key;
  }
}

/** Headers remembered at once, of about 300 bytes each. */
const remembered = 50_000;

/** Remembers what it read: good enough to find what may be wrong, and not to say that it is. */
export function createCachedLookups(context: StoreContext): Lookups {
  const cache = createBoundedCache<string, Seen<RecordHeader>>(remembered);
  const fresh = createFreshLookups(context);
  return {
    async record<H extends RecordHeader>(key: string) {
      const known = cache.get(key) as Seen<H> | undefined;
      if (known !== undefined) return known;
      const seen = await fresh.record<H>(key);
      cache.set(key, seen);
      return seen;
    },
  };
}

/** Reads everything anew. */
export function createFreshLookups(context: StoreContext): Lookups {
  return {
    async record<H extends RecordHeader>(key: string) {
      const { etag, header } = await readChecked<H>(context, key, { headerOnly: true });
      return { etag, header };
    },
  };
}

/** As `readRecord`; what is no record is an error of its own. Errors: UnreadableRecord, ObjectStoreUnavailable. */
export async function readChecked<H extends RecordHeader>(
  context: StoreContext,
  key: string,
  options: { headerOnly?: boolean } = {},
): ReturnType<typeof readRecord<H>> {
  try {
    return await readRecord<H>(context, key, options);
  } catch (error) {
    // What `record.ts` and JSON.parse raise about a body; a store that cannot answer raises another.
    if (
      error instanceof SyntaxError ||
      (error instanceof Error && error.message.endsWith('has no record header'))
    )
      throw new UnreadableRecord(key, error);
    throw error;
  }
}

export function lookUpManifest(
  look: Lookups,
  repository: string,
  digest: Digest,
): Promise<Seen<ManifestHeader>> {
  return look.record<ManifestHeader>(manifestKey(repository, digest));
}

export function lookUpPointer(look: Lookups, digest: Digest): Promise<Seen<PointerHeader>> {
  return look.record<PointerHeader>(pointerKey(digest));
}
