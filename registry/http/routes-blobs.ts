import type { Readable } from 'node:stream';
import { sendBody } from '../../core/http/send-body.ts';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import { parseRange } from '../../oci/range.ts';
import type { ByteRange, LocatedBlob } from '../../oci/registry.ts';
import { answer, apiVersion, type Call } from './call.ts';
import type { Elsewhere } from './hand-over.ts';

/** end-2  HEAD /v2/<name>/blobs/<digest>: existence and size, without opening the data. Redirected where the policy says so. */
export async function headBlob(call: Call<'blob'>): Promise<void> {
  const { repository } = call.route;
  const digest = parseDigest(call.route.digest);
  const { elsewhere } = await locate(call, digest, 'HEAD');
  if (elsewhere !== undefined) {
    sendElsewhere(call, digest, elsewhere);
    return;
  }
  const { size } = await call.registry.resolveBlob(repository, digest);
  call.response.writeHead(200, blobHeaders(digest, size));
  call.response.end();
}

/**
 * end-2  GET /v2/<name>/blobs/<digest>, whole or one range; or where to get it: whoever sends the bytes reads the range. Only one that the blob does
 * not have is refused here also for the web server in front, which would have to ask the store for its size.
 */
export async function getBlob(call: Call<'blob'>): Promise<void> {
  const digest = parseDigest(call.route.digest);
  const { located, elsewhere } = await locate(call, digest, 'GET');
  if (elsewhere?.to === 'store') {
    sendElsewhere(call, digest, elsewhere);
    return;
  }
  const rangeHeader = call.request.headers.range;
  if (rangeHeader !== undefined) {
    const { size } = located ?? (await call.registry.resolveBlob(call.route.repository, digest));
    const range = parseRange(rangeHeader, size);
    if (range === 'unsatisfiable') {
      answer(call, 416, ['Content-Range', `bytes */${size}`, 'Docker-Content-Digest', digest]);
      return;
    }
    if (range !== 'whole' && elsewhere === undefined) {
      const { body } = await open(call, digest, located, range);
      const headers = blobHeaders(digest, range.end - range.start + 1);
      headers.push('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
      await send(call, 206, headers, body);
      return;
    }
  }
  if (elsewhere !== undefined) {
    sendElsewhere(call, digest, elsewhere);
    return;
  }
  const { size, body } = await open(call, digest, located);
  await send(call, 200, blobHeaders(digest, size), body);
}

interface Whereabouts {
  readonly located?: LocatedBlob | undefined;
  readonly elsewhere?: Elsewhere | undefined;
}

/** Asks for the blob's place only where it could be of use. */
async function locate(call: Call<'blob'>, digest: Digest, method: 'GET' | 'HEAD'): Promise<Whereabouts> {
  const handOver = call.handOver?.(call.request, method, call.identity.principal);
  if (handOver === undefined) return {};
  const located = await call.registry.locateBlob?.(call.route.repository, digest);
  return located === undefined ? {} : { located, elsewhere: await handOver(located) };
}

async function open(
  call: Call<'blob'>,
  digest: Digest,
  located: LocatedBlob | undefined,
  range?: ByteRange,
): Promise<{ size: number; body: Readable }> {
  const body = await located?.open(range);
  if (located !== undefined && body !== undefined) return { size: located.size, body };
  return call.registry.getBlob(call.route.repository, digest, range);
}

/** end-10  DELETE /v2/<name>/blobs/<digest> */
export async function deleteBlob(call: Call<'blob'>): Promise<void> {
  await call.registry.deleteBlob(call.route.repository, parseDigest(call.route.digest));
  answer(call, 202, []);
}

function sendElsewhere(call: Call, digest: string, elsewhere: Elsewhere): void {
  if (elsewhere.to === 'store') {
    // The address is good for a while only, and for this client only if he keeps it to himself.
    const headers = [
      'Location',
      elsewhere.location,
      'Docker-Content-Digest',
      digest,
      'Cache-Control',
      'no-store',
    ];
    answer(call, 307, headers);
    return;
  }
  // Whether ranges are taken is for the front to say.
  call.response.writeHead(200, [...blobHeaders(digest, 0, []), 'X-Accel-Redirect', elsewhere.uri]);
  call.response.end();
}

async function send(call: Call, status: number, headers: string[], body: Readable): Promise<void> {
  const { response } = call;
  if (response.destroyed) {
    body.destroy();
    return;
  }
  response.writeHead(status, headers);
  call.idle.watchResponse(response);
  try {
    await sendBody(body, response);
  } catch (error) {
    // Whoever pulls may leave at any time. The store failing in the middle is ours; the status is sent already, so all
    // that can be done is to end the connection short of Content-Length, which `sendBody` did.
    if (body.errored !== null && body.errored === error) {
      call.log.error({ err: error, repository: repositoryOf(call) }, 'blob could not be read to its end');
    }
  }
}

function repositoryOf(call: Call): string | undefined {
  return 'repository' in call.route ? call.route.repository : undefined;
}

/** A blob never changes under its digest, so caches may keep it; whether one may read it is asked each time (`no-cache`). */
function blobHeaders(
  digest: string,
  length: number,
  ranges: readonly string[] = ['Accept-Ranges', 'bytes'],
): string[] {
  return [
    ...apiVersion,
    'Content-Type',
    'application/octet-stream',
    'Content-Length',
    String(length),
    'Docker-Content-Digest',
    digest,
    ...ranges,
    'ETag',
    `"${digest}"`,
    'Cache-Control',
    'private, no-cache',
    // What a browser makes of pushed bytes must not run on the origin that also serves the console.
    'X-Content-Type-Options',
    'nosniff',
  ];
}
