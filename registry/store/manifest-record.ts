import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from './context.ts';
import { manifestKey } from './paths.ts';
import { type RecordHeader, readRecord, replaceRecord, type Versioned } from './record.ts';

/**
 * A manifest in a repository; the payload is its exact bytes (none while pending).
 * pending (claimed by one attempt, its references are being written) → committed → condemned (policy: nobody needs it;
 * readers see it as committed) → committed again, or a tombstone.
 */
export interface ManifestHeader extends RecordHeader {
  readonly state: 'pending' | 'committed' | 'condemned';
  /** Random per claim; part of every reference's key, so that an old attempt's references can be told from a newer one's. */
  readonly attempt: string;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
}

export type ManifestRecord = Versioned<ManifestHeader>;
export type ReadableManifest = ManifestRecord & { readonly header: ManifestHeader };

export function readManifestRecord(
  context: StoreContext,
  repository: string,
  digest: Digest,
  options: { headerOnly?: boolean } = {},
): Promise<ManifestRecord> {
  return readRecord<ManifestHeader>(context, manifestKey(repository, digest), options);
}

/** Readers see it. */
export function isReadable(record: ManifestRecord): record is ReadableManifest {
  return record.header !== undefined && record.header.state !== 'pending';
}

/**
 * A record that readers see, in state committed: condemned is turned back. Undefined: it is not there (any more).
 * `seen` spares the first read.
 */
export async function keepCommitted(
  context: StoreContext,
  repository: string,
  digest: Digest,
  seen?: ManifestRecord,
): Promise<ReadableManifest | undefined> {
  let record = seen ?? (await readManifestRecord(context, repository, digest, { headerOnly: true }));
  for (;;) {
    if (!isReadable(record)) return undefined;
    if (record.header.state === 'committed') return record;
    record = await readManifestRecord(context, repository, digest);
    if (!isReadable(record) || record.header.state === 'committed') continue;
    const { nonce: _, ...header } = record.header;
    const key = manifestKey(repository, digest);
    const options = { payload: record.payload };
    const revived = await replaceRecord<ManifestHeader>(
      context,
      key,
      record,
      { ...header, state: 'committed' },
      options,
    );
    record = revived ?? (await readManifestRecord(context, repository, digest, { headerOnly: true }));
  }
}
