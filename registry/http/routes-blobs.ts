import type { Readable } from 'node:stream';
import { sendBody } from '../../core/http/send-body.ts';
import { parseDigest } from '../../oci/digest.ts';
import { parseRange } from '../../oci/range.ts';
import { answer, apiVersion, type Call } from './call.ts';

/** end-2  HEAD /v2/<name>/blobs/<digest>: existence and size, without opening the data. */
export async function headBlob(call: Call<'blob'>): Promise<void> {
  const { repository } = call.route;
  const digest = parseDigest(call.route.digest);
  const { size } = await call.registry.resolveBlob(repository, digest);
  call.response.writeHead(200, blobHeaders(digest, size));
  call.response.end();
}

/** end-2  GET /v2/<name>/blobs/<digest>, whole or one range. */
export async function getBlob(call: Call<'blob'>): Promise<void> {
  const { repository } = call.route;
  const digest = parseDigest(call.route.digest);
  const rangeHeader = call.request.headers.range;
  if (rangeHeader !== undefined) {
    const { size } = await call.registry.resolveBlob(repository, digest);
    const range = parseRange(rangeHeader, size);
    if (range === 'unsatisfiable') {
      answer(call, 416, ['Content-Range', `bytes */${size}`, 'Docker-Content-Digest', digest]);
      return;
    }
    if (range !== 'whole') {
      const { body } = await call.registry.getBlob(repository, digest, range);
      const headers = blobHeaders(digest, range.end - range.start + 1);
      headers.push('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
      await send(call, 206, headers, body);
      return;
    }
  }
  const { size, body } = await call.registry.getBlob(repository, digest);
  await send(call, 200, blobHeaders(digest, size), body);
}

/** end-10  DELETE /v2/<name>/blobs/<digest> */
export async function deleteBlob(call: Call<'blob'>): Promise<void> {
  await call.registry.deleteBlob(call.route.repository, parseDigest(call.route.digest));
  answer(call, 202, []);
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
function blobHeaders(digest: string, length: number): string[] {
  return [
    ...apiVersion,
    'Content-Type',
    'application/octet-stream',
    'Content-Length',
    String(length),
    'Docker-Content-Digest',
    digest,
    'Accept-Ranges',
    'bytes',
    'ETag',
    `"${digest}"`,
    'Cache-Control',
    'private, no-cache',
    // What a browser makes of pushed bytes must not run on the origin that also serves the console.
    'X-Content-Type-Options',
    'nosniff',
  ];
}
