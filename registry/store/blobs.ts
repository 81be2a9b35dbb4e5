import { Readable } from 'node:stream';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { BlobContent, ByteRange, LocatedBlob } from '../../oci/registry.ts';
import { leaveBlobHints } from '../collect/hints.ts';
import type { StoreContext } from './context.ts';
import { linkBlob, opens, readLink } from './link.ts';
import { blobReferencesPrefix, linkKey } from './paths.ts';
import { isUsable, keepAlive, type PointerHeader, readPointer } from './pointer.ts';
import { buryRecord } from './record.ts';

/** How many repositories a mount without `from` tries before it answers "upload instead". */
const mountCandidates = 64;

/** Errors: BLOB_UNKNOWN, RANGE_INVALID. */
export async function getBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
  range?: ByteRange,
): Promise<BlobContent> {
  // A second round when the bytes vanish under the first: the blob may have been pushed anew meanwhile.
  for (let round = 1; round <= 2; round++) {
    const [link, pointer] = await Promise.all([
      readLink(context, repository, digest),
      readPointer(context, digest),
    ]);
    if (!isUsable(pointer) || !opens(link, pointer)) break;
    const body = await openBytes(context, pointer.header, pointer.payload, range);
    if (body !== undefined) return { size: pointer.header.size, body };
  }
  throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
}

/** Never raises BLOB_UNKNOWN: what is undefined here is looked for again by whoever has to say so. */
export async function locateBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
): Promise<LocatedBlob | undefined> {
  const [link, pointer] = await Promise.all([
    readLink(context, repository, digest),
    readPointer(context, digest),
  ]);
  if (!isUsable(pointer) || !opens(link, pointer)) return undefined;
  const { header, payload } = pointer;
  const open = (range?: ByteRange): Promise<Readable | undefined> =>
    openBytes(context, header, payload, range);
  // Bytes of a condemned blob may go before an address that is given out now expires: the collector waits for older ones only.
  const dataKey = header.state === 'live' ? header.dataKey : undefined;
  if (dataKey === undefined) return { size: header.size, address: async () => undefined, open };
  return {
    size: header.size,
    dataKey,
    address: ({ method, expiresInSeconds }) =>
      context.store.presign(dataKey, { method, expiresInSeconds, contentType: 'application/octet-stream' }),
    open,
  };
}

async function openBytes(
  context: StoreContext,
  header: PointerHeader,
  inline: Buffer,
  range: ByteRange | undefined,
): Promise<Readable | undefined> {
  if (range !== undefined && (range.start >= header.size || range.start > range.end || range.start < 0)) {
    throw new OciError('RANGE_INVALID', { detail: { size: header.size } });
  }
  const start = range?.start ?? 0;
  const end = Math.min(range?.end ?? header.size - 1, header.size - 1);
  if (header.dataKey === undefined) {
    return Readable.from([inline.subarray(start, end + 1)], { objectMode: false });
  }
  const stored = await context.store.getStream(
    header.dataKey,
    range === undefined ? undefined : { start, end },
  );
  return stored?.body;
}

/** Errors: BLOB_UNKNOWN. */
export async function resolveBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
): Promise<Descriptor> {
  const [link, seen] = await Promise.all([
    readLink(context, repository, digest),
    readPointer(context, digest, { headerOnly: true }),
  ]);
  if (isUsable(seen) && opens(link, seen)) {
    const pointer = await keepAlive(context, digest, seen);
    if (pointer !== undefined && opens(link, pointer)) {
      return { mediaType: 'application/octet-stream', digest, size: pointer.header.size };
    }
  }
  throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
}

/** Errors: BLOB_UNKNOWN. */
export async function deleteBlob(context: StoreContext, repository: string, digest: Digest): Promise<void> {
  for (;;) {
    const [link, pointer] = await Promise.all([
      readLink(context, repository, digest),
      readPointer(context, digest, { headerOnly: true }),
    ]);
    if (!isUsable(pointer) || !opens(link, pointer)) {
      throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    }
    if (!(await buryRecord(context, linkKey(repository, digest), link))) continue;
    await leaveBlobHints(context, [digest]);
    return;
  }
}

export async function mountBlob(
  context: StoreContext,
  repository: string,
  digest: Digest,
  from: string | undefined,
  mayRead: (repository: string) => boolean = () => true,
): Promise<boolean> {
  const sources = from === undefined ? repositoriesHolding(context, digest, repository) : [from];
  let tried = 0;
  for await (const source of sources) {
    if (!mayRead(source)) continue;
    if (tried++ === mountCandidates) return false;
    const [link, seen] = await Promise.all([
      readLink(context, source, digest),
      readPointer(context, digest, { headerOnly: true }),
    ]);
    if (!isUsable(seen)) return false;
    const pointer = opens(link, seen) ? await keepAlive(context, digest, seen) : undefined;
    if (pointer === undefined || !opens(link, pointer)) continue;
    return linkBlob(context, repository, digest, { gen: pointer.header.gen });
  }
  return false;
}

/** The target itself, where the blob was pushed first, then whatever the references name; one page of them. */
async function* repositoriesHolding(
  context: StoreContext,
  digest: Digest,
  target: string,
): AsyncGenerator<string> {
  yield target;
  const seen = new Set([target]);
  const home = (await readPointer(context, digest, { headerOnly: true })).header?.home;
  if (home !== undefined && !seen.has(home)) {
    seen.add(home);
    yield home;
  }
  const prefix = blobReferencesPrefix(digest);
  const page = await context.store.list({ prefix });
  for (const { key } of page.objects) {
    const source = key.slice(key.indexOf('/', prefix.length) + 1);
    if (seen.has(source)) continue;
    seen.add(source);
    yield source;
  }
}
