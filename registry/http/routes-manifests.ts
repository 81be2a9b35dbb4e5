import { readBody } from '../../core/http/read-body.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { isDigest, parseDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { isTag } from '../../oci/reference.ts';
import { formatRoute } from '../../oci/route.ts';
import { answer, apiVersion, type Call, queryOf, requireRight } from './call.ts';

/** distribution-spec "Pushing Manifests": registries should accept 4 MiB, and ours accepts no more. */
export const manifestLimit = 4 * 1024 * 1024;

const oneWriteLimit = 16 * 1024;

/**
 * end-3  HEAD /v2/<name>/manifests/<reference>
 *
 * What is stored is served, whatever `Accept` says: the digest is over the bytes, so there is nothing to convert into.
 */
export async function headManifest(call: Call<'manifest'>): Promise<void> {
  const { repository } = call.route;
  const descriptor = await call.registry.resolveManifest(repository, readReference(call));
  if (notModified(call, descriptor)) return;
  call.response.writeHead(200, manifestHeaders(descriptor));
  call.response.end();
}

/** end-3  GET /v2/<name>/manifests/<reference> */
export async function getManifest(call: Call<'manifest'>): Promise<void> {
  const { repository } = call.route;
  const { descriptor, bytes, warning } = await call.registry.getManifest(repository, readReference(call));
  if (notModified(call, descriptor)) return;
  const headers = manifestHeaders(descriptor);
  // distribution-spec "Warnings": code 299, no agent, no date.
  if (warning !== undefined) headers.push('Warning', `299 - "${warning}"`);
  call.response.writeHead(200, headers);
  // As Latin-1 text (one character, one byte) Node sends head and body in one piece, which halves the system's work.
  if (bytes.length <= oneWriteLimit) call.response.end(bytes.toString('latin1'), 'latin1');
  else call.response.end(bytes);
}

/**
 * end-7a  PUT /v2/<name>/manifests/<reference>
 * end-7b  PUT /v2/<name>/manifests/<digest>?tag=<tag>&tag=<tag>
 */
export async function putManifest(call: Call<'manifest'>): Promise<void> {
  const { repository, reference } = call.route;
  // Before four megabytes are kept for somebody who may not push.
  requireRight(call, 'push', repository);
  checkReference(reference);
  const tags = isDigest(reference) ? queryOf(call).getAll('tag') : [];
  for (const tag of tags) checkTag(tag);
  const mediaType = readMediaType(call.request.headers['content-type']);
  call.idle.watchBody(call.request);
  const bytes = await readBody(call.request, manifestLimit);
  const result = await call.registry.putManifest(repository, reference, bytes, mediaType, { tags });

  const { digest } = result.descriptor;
  const headers = [
    'Location',
    formatRoute({ kind: 'manifest', repository, reference: digest }),
    'Docker-Content-Digest',
    digest,
  ];
  // Only when asked for by parameter: a client that sees no OCI-Tag pushes each tag by itself.
  if (tags.length > 0) for (const tag of result.tags) headers.push('OCI-Tag', tag);
  if (result.subject !== undefined) headers.push('OCI-Subject', result.subject);
  answer(call, 201, headers);
}

/** end-9  DELETE /v2/<name>/manifests/<reference>: a tag alone, or a manifest with the tags that point at it */
export async function deleteManifest(call: Call<'manifest'>): Promise<void> {
  const { registry, route } = call;
  const reference = readReference(call);
  if (isDigest(reference)) await registry.deleteManifest(route.repository, reference);
  else await registry.deleteTag(route.repository, reference);
  answer(call, 202, []);
}

/** Errors: DIGEST_INVALID; MANIFEST_UNKNOWN for what cannot be a tag, as nothing can be stored under it. */
function readReference(call: Call<'manifest'>): string {
  const { reference } = call.route;
  if (reference.includes(':')) return parseDigest(reference);
  if (!isTag(reference)) throw new OciError('MANIFEST_UNKNOWN');
  return reference;
}

function checkReference(reference: string): void {
  if (reference.includes(':')) parseDigest(reference);
  else checkTag(reference);
}

function checkTag(tag: string): void {
  if (!isTag(tag)) throw new OciError('TAG_INVALID');
}

/** RFC 6838 4.2 names, without parameters; empty = what the manifest says of itself. Errors: MANIFEST_INVALID. */
function readMediaType(header: string | undefined): string {
  if (header === undefined) return '';
  const type = header.split(';', 1)[0]?.trim() ?? '';
  if (type.length > 255 || !/^application\/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]*$/.test(type)) {
    throw new OciError('MANIFEST_INVALID', { message: "Content-Type must be the manifest's media type" });
  }
  return type;
}

/** `If-None-Match`: a list of entity tags or `*`, compared weakly (RFC 9110 13.1.2). */
function notModified(call: Call<'manifest'>, descriptor: Descriptor): boolean {
  const header = call.request.headers['if-none-match'];
  if (header === undefined) return false;
  const entries = header.split(',').map((entry) => entry.trim().replace(/^W\//, ''));
  if (!entries.some((entry) => entry === '*' || unquote(entry) === descriptor.digest)) return false;
  call.response.writeHead(304, [
    ...apiVersion,
    'ETag',
    `"${descriptor.digest}"`,
    'Docker-Content-Digest',
    descriptor.digest,
  ]);
  call.response.end();
  return true;
}

/** Some clients send the digest without its quotes. */
function unquote(entry: string): string {
  return entry.startsWith('"') && entry.endsWith('"') ? entry.slice(1, -1) : entry;
}

function manifestHeaders(descriptor: Descriptor): string[] {
  return [
    'Docker-Distribution-Api-Version',
    'registry/2.0',
    'Content-Type',
    descriptor.mediaType,
    'Content-Length',
    String(descriptor.size),
    'Docker-Content-Digest',
    descriptor.digest,
    'ETag',
    `"${descriptor.digest}"`,
    'X-Content-Type-Options',
    'nosniff',
  ];
}
