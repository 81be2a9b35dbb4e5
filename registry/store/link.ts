import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from './context.ts';
import { linkKey } from './paths.ts';
import { keepAlive, type UsablePointer } from './pointer.ts';
import { type RecordHeader, readRecord, replaceRecord, type Versioned } from './record.ts';

/** The right to read a blob in a repository, as long as the blob's pointer has the same generation. */
export interface LinkHeader extends RecordHeader {
  readonly state: 'linked';
  readonly gen: string;
}

export type Link = Versioned<LinkHeader>;

export function readLink(context: StoreContext, repository: string, digest: Digest): Promise<Link> {
  return readRecord<LinkHeader>(context, linkKey(repository, digest));
}

/** True when the link gives the right to this very incarnation of the blob. */
export function opens(link: Link, pointer: UsablePointer): boolean {
  return link.header?.gen === pointer.header.gen;
}

/**
 * Makes a blob that is there readable in the repository. False: the blob is not there (any more).
 * `seen` is a link as it was before the caller knew the pointer to be live (`neverWritten` where it did not look): never blind, so that a
 * slow writer cannot put an old generation over a newer one.
 */
export async function linkBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
  options: {
    readonly seen?: { link: Link; pointer: UsablePointer };
    /** Only this incarnation: the one that the caller's right was checked against. */
    readonly gen?: string;
  } = {},
): Promise<boolean> {
  let known = options.seen;
  for (;;) {
    const link = known?.link ?? (await readLink(context, repository, digest));
    const pointer = known?.pointer ?? (await keepAlive(context, digest));
    known = undefined;
    if (pointer === undefined) return false;
    if (options.gen !== undefined && options.gen !== pointer.header.gen) return false;
    if (opens(link, pointer)) return true;
    const header = { state: 'linked', gen: pointer.header.gen } as const;
    if ((await replaceRecord<LinkHeader>(context, linkKey(repository, digest), link, header)) !== undefined) {
      return true;
    }
  }
}
