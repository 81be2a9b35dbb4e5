import type { ReadBuffers } from '../../core/object-store/read-buffers.ts';
import { parseRange } from '../../oci/range.ts';
import { fetchBlob } from '../fetch/fetch-blob.ts';
import { OriginAway } from '../fetch/origin-link.ts';
import { refuse, refuseAway } from './answer.ts';
import {
  type BlobFetchDeps,
  BlobGone,
  fetchPieces,
  PoolDenied,
  readExtent,
  refusal,
  type Source,
} from './blob-fetch.ts';
import { readBlob } from './blob-reader.ts';
import { NoRoom } from './cache-store.ts';
import { type CompareDeps, compareBlob } from './compare-blob.ts';
import { type Exchange, purposeOf } from './exchange.ts';
import type { Purpose } from './fetches.ts';
import type { Comparison, OpenBlob } from './open-blobs.ts';
import { createSender, type Sender } from './sender.ts';

export interface BlobAnswerDeps extends BlobFetchDeps, CompareDeps {
  readonly buffers: ReadBuffers;
}

/**
 * GET of a blob that the gate allowed: from the cache as far as it goes, else from the origin, while it arrives. A whole blob that nobody compared yet is held
 * back by its last byte until that is done, so that no client ever has all of something wrong.
 */
export async function answerBlob(
  deps: BlobAnswerDeps,
  exchange: Exchange,
  digest: OpenBlob['digest'],
  source: Source,
): Promise<void> {
  const { request, response } = exchange;
  const blob = deps.blobs.open(digest);
  const release = blob.use();
  try {
    deps.store.touch(deps.store.blob(digest));
    const asked = rangeHeader(exchange, digest);
    const first = /^bytes=([0-9]{1,15})-/.exec(asked ?? '')?.[1];
    exchange.cache = blob.has(Math.floor(Number(first ?? 0) / blob.slice)) ? 'hit' : 'miss';
    if (onlyIfCached(exchange) && !isHere(blob, asked)) {
      // RFC 9111 5.2.1.7. Another pool asks, which has an origin of its own.
      response.writeHead(504, { 'content-length': 0 }).end();
      return;
    }
    const size = await learnSize(deps, blob, source, exchange, asked);
    const range = parseRange(asked, size);
    if (range === 'unsatisfiable') {
      await refuse(request, response, 'RANGE_INVALID', { headers: { 'content-range': `bytes */${size}` } });
      return;
    }
    const { start, end } = range === 'whole' ? { start: 0, end: size - 1 } : range;
    response.writeHead(range === 'whole' ? 200 : 206, {
      'content-type': 'application/octet-stream',
      'content-length': end - start + 1,
      'docker-content-digest': digest,
      'docker-distribution-api-version': 'registry/2.0',
      etag: `"${digest}"`,
      'accept-ranges': 'bytes',
      'cache-control': 'max-age=31536000',
      'x-cache': exchange.cache.toUpperCase(),
      ...(range === 'whole' ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
    });
    const sender = createSender(response, deps.buffers, exchange.wrote);
    try {
      await sendAll(deps, blob, source, exchange, { start, end, size, sender });
      await sender.end();
    } finally {
      sender.release();
    }
  } catch (error) {
    await refuseFetch(exchange, error);
  } finally {
    release();
  }
}

async function sendAll(
  deps: BlobAnswerDeps,
  blob: OpenBlob,
  source: Source,
  exchange: Exchange,
  part: { readonly start: number; readonly end: number; readonly size: number; readonly sender: Sender },
): Promise<void> {
  const { start, end, size, sender } = part;
  const purpose = purposeOf(exchange);
  const send = async (from: number, to: number): Promise<void> => {
    let position = from;
    const range = { start: from, end: to, size, purpose };
    try {
      await readBlob(deps, blob, source, range, sender.file, (at) => {
        position = at;
      });
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      await passThrough({ source, digest: blob.digest }, position, to, sender);
    }
  };
  const compared = !blob.dead && deps.store.blob(blob.digest)?.verified === true;
  if (compared || start !== 0 || end !== size - 1 || size === 0) {
    if (size > 0) await send(start, end);
    return;
  }
  const comparison = compareBlob(deps, blob);
  if (size > 1) await send(0, end - 1);
  if ((await awaitComparison(deps, blob, source, { end, size, purpose, comparison })) === 'wrong') {
    throw new Error('the blob does not match its digest');
  }
  await send(end, end);
}

async function awaitComparison(
  deps: BlobAnswerDeps,
  blob: OpenBlob,
  source: Source,
  last: { end: number; size: number; purpose: Purpose; comparison: Promise<Comparison> },
): Promise<Comparison> {
  // The last byte may be a piece of its own, which must be on its way before anybody waits for it.
  const range = { ...last, start: last.end };
  try {
    await readBlob(
      deps,
      blob,
      source,
      range,
      async () => {},
      () => {},
    );
  } catch (error) {
    if (!(error instanceof NoRoom)) throw error;
  }
  blob.awaited += 1;
  blob.changes.changed();
  try {
    return await last.comparison;
  } finally {
    blob.awaited -= 1;
  }
}

/** What cannot be kept is still sent: straight from the origin, for this client alone. */
async function passThrough(
  { source, digest }: { source: Source; digest: string },
  start: number,
  end: number,
  sender: Sender,
): Promise<void> {
  const { link, parents, repository } = source;
  const { status, body } = await fetchBlob(link, parents, {
    repository,
    digest,
    range: `bytes=${start}-${end}`,
  });
  if (status !== 206 && !(status === 200 && start === 0)) {
    body.destroy();
    throw refusal(status);
  }
  let left = end - start + 1;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, left);
    left -= part.length;
    if (part.length > 0) await sender.bytes(part);
  }
  if (left > 0) throw new OriginAway('the answer ended early');
}

/** Errors: as a fetch has them. */
export async function askSize({ link, parents, repository }: Source, digest: string): Promise<number> {
  const answer = await fetchBlob(link, parents, { repository, digest, range: 'bytes=0-0' });
  answer.body.destroy();
  const { size } = readExtent(answer);
  if (size === undefined) throw refusal(answer.status);
  return size;
}

/** From what is known, from the answer that begins to fetch it, or by asking where the range counts from the end. */
async function learnSize(
  deps: BlobAnswerDeps,
  blob: OpenBlob,
  source: Source,
  exchange: Exchange,
  asked: string | undefined,
): Promise<number> {
  const [, first, last] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(asked ?? 'bytes=0-') ?? [];
  if (blob.size === undefined && (first === undefined || first === '')) {
    blob.setSize(await askSize(source, blob.digest));
  }
  const start = Number(first ?? 0);
  const piece = Math.floor(start / blob.slice);
  const end = last === undefined || last === '' ? undefined : Math.max(start, Number(last));
  for (let failures = 0; blob.size === undefined; ) {
    const fill =
      blob.fills.get(piece) ??
      fetchPieces(deps, blob, source, { first: piece, end, purpose: purposeOf(exchange) });
    if (fill.state === 'coming') await Promise.race([blob.changes.next(), fill.changes.next()]);
    if (blob.size !== undefined || fill.state === 'coming') continue;
    const foreign = fill.error instanceof BlobGone && fill.source !== source.name;
    if (!foreign || ++failures > 2) throw fill.error;
  }
  return blob.size;
}

function onlyIfCached({ request }: Exchange): boolean {
  return /(?:^|[\s,])only-if-cached(?:$|[\s,])/i.test(request.headers['cache-control'] ?? '');
}

/** All that is asked for. */
function isHere(blob: OpenBlob, asked: string | undefined): boolean {
  if (blob.size === undefined) return false;
  const range = parseRange(asked, blob.size);
  if (range === 'unsatisfiable') return false;
  const { start, end } = range === 'whole' ? { start: 0, end: blob.size - 1 } : range;
  for (let piece = Math.floor(start / blob.slice); piece * blob.slice <= end; piece += 1) {
    if (!blob.has(piece)) return false;
  }
  return true;
}

/** RFC 9110 13.1.5: a range of something else than the client has a part of is not sent. */
function rangeHeader({ request }: Exchange, digest: string): string | undefined {
  const condition = request.headers['if-range'];
  return condition === undefined || condition === `"${digest}"` ? request.headers.range : undefined;
}

/** Half an answer is broken off, so that nobody takes it for a whole one. */
export async function refuseFetch(exchange: Exchange, error: unknown): Promise<void> {
  const { request, response } = exchange;
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  exchange.cache = 'miss';
  const unknown = exchange.about.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN';
  if (error instanceof BlobGone) await refuse(request, response, unknown);
  else if (error instanceof PoolDenied) await refuse(request, response, 'DENIED');
  else await refuseAway(request, response);
}
