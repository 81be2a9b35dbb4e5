import type { Descriptor } from '../../oci/descriptor.ts';
import { parseDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { PageOptions } from '../../oci/registry.ts';
import { formatRoute } from '../../oci/route.ts';
import { answerJson, type Call, queryOf } from './call.ts';

/** Entries of a list where the client names no `n`, and the most it gets however large its `n`: one page of an object store. */
const pageLimit = 1000;
/** distribution-spec "Listing Referrers": a response should stay under 4 MiB. */
const referrersByteLimit = 4 * 1024 * 1024;

/** end-8a  GET /v2/<name>/tags/list · end-8b  …?n=<integer>&last=<tag> */
export async function listTags(call: Call<'tags'>): Promise<void> {
  const { repository } = call.route;
  const query = queryOf(call);
  const options = readPage(query);
  const page = await call.registry.listTags(repository, options);
  const next = nextLink(formatRoute(call.route), query, page.next, options.limit);
  answerJson(call, next, JSON.stringify({ name: repository, tags: page.entries }));
}

/** GET /v2/_catalog, ?n=<integer>&last=<name>: of docker's registry API, not of the distribution-spec; its listings are alike */
export async function listRepositories(call: Call<'catalog'>): Promise<void> {
  const query = queryOf(call);
  const options = readPage(query);
  const page = await call.registry.listRepositories(options);
  const next = nextLink(formatRoute(call.route), query, page.next, options.limit);
  answerJson(call, next, JSON.stringify({ repositories: page.entries }));
}

/**
 * end-12a  GET /v2/<name>/referrers/<digest>
 * end-12b  GET /v2/<name>/referrers/<digest>?artifactType=<artifactType>
 *
 * Annotations may make one descriptor as large as a manifest, so a page is measured in bytes.
 */
export async function listReferrers(call: Call<'referrers'>): Promise<void> {
  const { repository } = call.route;
  const subject = parseDigest(call.route.digest);
  const query = queryOf(call);
  const artifactType = query.get('artifactType') ?? undefined;
  const { limit, last } = readPage(query);
  const filter = artifactType === undefined ? {} : { artifactType };

  const entries: string[] = [];
  let bytes = 0;
  let after = last;
  let more = limit > 0;
  while (more && entries.length < limit) {
    const page = await call.registry.listReferrers(repository, subject, {
      ...filter,
      limit: Math.min(limit - entries.length, batchSize(entries.length, bytes)),
      ...(after === undefined ? {} : { last: after }),
    });
    const taken = takeWhileFits(page.entries, entries, bytes);
    bytes = taken.bytes;
    after = taken.last ?? after;
    more = page.next !== undefined || taken.count < page.entries.length;
    if (taken.count < page.entries.length) break;
    if (page.next !== undefined) after = page.next;
  }

  const headers = nextLink(formatRoute(call.route), query, more && limit > 0 ? after : undefined, limit);
  if (artifactType !== undefined) headers.push('OCI-Filters-Applied', 'artifactType');
  const body = `{"schemaVersion":2,"mediaType":"${mediaTypes.ociIndex}","manifests":[${entries.join(',')}]}`;
  answerJson(call, headers, body, mediaTypes.ociIndex);
}

/** How many descriptors to ask for: few while it is unknown how large they are, so that a page is never held many times over. */
function batchSize(count: number, bytes: number): number {
  if (count === 0) return 16;
  const average = bytes / count;
  return Math.max(1, Math.min(500, Math.ceil((referrersByteLimit - bytes) / average)));
}

/** Appends to `entries` until the page is full; the first entry always fits, or paging would never end. */
function takeWhileFits(
  descriptors: readonly Descriptor[],
  entries: string[],
  bytesBefore: number,
): { count: number; bytes: number; last: string | undefined } {
  let bytes = bytesBefore;
  let count = 0;
  let last: string | undefined;
  for (const descriptor of descriptors) {
    const json = JSON.stringify(descriptor);
    const size = Buffer.byteLength(json) + 1;
    if (entries.length > 0 && bytes + size > referrersByteLimit - 200) break;
    entries.push(json);
    bytes += size;
    count += 1;
    last = descriptor.digest;
  }
  return { count, bytes, last };
}

/** Errors: PAGINATION_NUMBER_INVALID for an `n` that is no number, negative, or larger than any client means. */
function readPage(query: URLSearchParams): PageOptions {
  const n = query.get('n');
  const last = query.get('last') ?? undefined;
  if (n !== null && (!/^[0-9]{1,10}$/.test(n) || Number(n) > 2 ** 31 - 1)) {
    throw new OciError('PAGINATION_NUMBER_INVALID');
  }
  // Longer than any name, and a name never holds such a character: nothing can come after it that does not come after its beginning.
  const after = last?.slice(0, 1024).split('\0', 1)[0];
  return {
    limit: n === null ? pageLimit : Math.min(Number(n), pageLimit),
    ...(after === undefined || after === '' ? {} : { last: after }),
  };
}

/** RFC 8288, relative like every address the registry gives out. Other parameters are carried over. */
function nextLink(path: string, query: URLSearchParams, last: string | undefined, limit: number): string[] {
  if (last === undefined || limit === 0) return [];
  const next = new URLSearchParams(query);
  next.set('n', String(limit));
  next.set('last', last);
  return ['Link', `<${path}?${next.toString()}>; rel="next"`];
}
