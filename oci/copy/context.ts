import type { Digest } from '../digest.ts';
import type { Lister, Reader, Writer } from '../registry.ts';
import type { BlobPlaces } from './blob-places.ts';
import type { Calls } from './calls.ts';
import { isAbsent } from './copy-fault.ts';
import type { CopyCounts } from './counts.ts';
import type { Limit } from './limit.ts';
import { readSourceManifest, type SourceManifest } from './read-manifest.ts';

export type CopySource = Reader & Pick<Lister, 'listReferrers'>;
export type CopyTarget = Reader & Writer;

/** `planned`: so many bytes are about to be moved; `moved`: they arrived (negative when a part must be sent again). */
export interface CopyProgress {
  readonly planned?: number;
  readonly moved?: number;
}

/** What all images of one run share. */
export interface CopyContext {
  readonly source: CopySource;
  readonly target: CopyTarget;
  readonly calls: Calls;
  readonly places: BlobPlaces;
  readonly blobLimit: Limit;
  readonly sameRegistry: boolean;
  readonly dryRun: boolean;
  readonly checkBlobs: boolean;
  readonly signal: AbortSignal | undefined;
  readonly progress: (event: CopyProgress) => void;
}

/** One image on its way. */
export interface ImageCopy {
  /** Repository of the source. */
  readonly from: string;
  /** Repository of the target. */
  readonly to: string;
  readonly counts: CopyCounts;
}

/** Errors: CopyFault, UnsupportedContent, CopyAborted. */
export async function readFrom(
  { source, calls }: CopyContext,
  repository: string,
  reference: string,
): Promise<SourceManifest> {
  const subject = `manifest ${reference}`;
  const content = await calls.on('source', subject, () => source.getManifest(repository, reference));
  return readSourceManifest(content, subject);
}

/** What the target has under this tag or digest; undefined = nothing. Errors: CopyFault, CopyAborted. */
export async function resolveAt(
  { target, calls }: CopyContext,
  repository: string,
  reference: string,
): Promise<Digest | undefined> {
  const held = await unlessAbsent(() =>
    calls.on('target', `manifest ${reference}`, () => target.resolveManifest(repository, reference)),
  );
  return held?.digest;
}

/** Undefined = not there. Errors: everything else, as "could not look" is no answer. */
export async function unlessAbsent<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
