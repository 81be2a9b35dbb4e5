import type { ReadBuffers } from '../../core/object-store/read-buffers.ts';
import { parseRange } from '../../oci/range.ts';
import { refuse, refuseAway } from './answer.ts';
import { type BlobFetchDeps, BlobGone, type BlobSource, fetchPieces, PoolDenied } from './blob-fetch.ts';
import { readBlob } from './blob-reader.ts';
import { NoRoom } from './cache-store.ts';
import { type CompareDeps, compareBlob } from './compare-blob.ts';
import { type Exchange, purposeOf } from './exchange.ts';
import type { Purpose } from './fetches.ts';
import type { Comparison, OpenBlob } from './open-blobs.ts';
import { createSender, type Sender } from './sender.ts';
import { OriginAway } from './upstream.ts';

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
  source: BlobSource,
): Promise<void> {
  const { request, response } = exchange;
  const blob = deps.blobs.open(digest);
  const release = blob.use();
  try {
    deps.store.touch(deps.store.blob(digest));
    const asked = rangeHeader(exchange, digest);
    const first = /^bytes=([0-9]{1,15})-/.exec(asked ?? '')?.[1];
    exchange.cache = blob.has(Math.floor(Number(first ?? 0) / blob.slice)) ? 'hit' : 'miss';
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
  source: BlobSource,
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
      await passThrough(source, position, to, sender);
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
  source: BlobSource,
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
async function passThrough(source: BlobSource, start: number, end: number, sender: Sender): Promise<void> {
  const { upstream, path, scope } = source;
  const headers = { range: `bytes=${start}-${end}` };
  const answer = await upstream.fetch({ method: 'GET', path, scope, headers });
  if (answer.statusCode !== 206 && !(answer.statusCode === 200 && start === 0)) {
    answer.destroy();
    throw new OriginAway(`it answered ${answer.statusCode}`);
  }
  let left = end - start + 1;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, left);
    left -= part.length;
    if (part.length > 0) await sender.bytes(part);
  }
  if (left > 0) throw new OriginAway('the answer ended early');
}

/** From what is known, from the answer that begins to fetch it, or by asking where the range counts from the end. */
async function learnSize(
  deps: BlobAnswerDeps,
  blob: OpenBlob,
  source: BlobSource,
  exchange: Exchange,
  asked: string | undefined,
): Promise<number> {
  const [, first, last] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(asked ?? 'bytes=0-') ?? [];
  if (blob.size === undefined && (first === undefined || first === '')) {
    const { upstream, path, scope } = source;
    const answer = await upstream.fetch({ method: 'HEAD', path, scope });
    answer.resume();
    if (answer.statusCode === 404) throw new BlobGone('the origin does not have it');
    const length = answer.headers['content-length'] ?? '';
    if (answer.statusCode !== 200 || !/^[0-9]{1,15}$/.test(length))
      throw new OriginAway('it does not tell the size');
    blob.setSize(Number(length));
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
