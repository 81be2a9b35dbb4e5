import type { IncomingMessage } from 'node:http';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { PullRecord } from '../pull-record.ts';
import { BlobGone, type BlobSource, refusal } from './blob-fetch.ts';
import { type ManifestDocument, manifestLimit } from './documents.ts';
import { observeFetch, type Purpose } from './fetches.ts';
import { OriginAway } from './upstream.ts';

export interface FetchedManifest {
  readonly manifest: ManifestDocument;
  readonly etag?: string;
}

export interface ManifestQuestion {
  /** `path` is the manifest's. */
  readonly source: BlobSource;
  /** With `<ns>/` in front for other upstreams. */
  readonly repository: string;
  /** Of a manifest that is asked for by digest. */
  readonly digest?: Digest;
  readonly accept: string;
  /** Only if it is not this any more. */
  readonly etag?: string;
  readonly purpose: Purpose;
}

/** Until a manifest's last byte, from its first: together with the answer's beginning less than the five seconds in which clients must know. */
const bodyTimeout = 2000;

/** All that we can pass on, where the client does not say. */
export const acceptAll = [
  mediaTypes.ociIndex,
  mediaTypes.dockerManifestList,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
  '*/*',
].join(', ');

/**
 * A manifest from the origin, compared with its digest. Undefined: it is still the one with `etag`. Errors: BlobGone, PoolDenied, OriginAway, which wrong bytes
 * are too: whoever answers so is not the origin, or not itself.
 */
export async function fetchManifest(
  question: ManifestQuestion,
  onRecord: (record: PullRecord) => void,
): Promise<FetchedManifest | undefined> {
  const { source, etag, accept } = question;
  const note = observeFetch(question.purpose, onRecord);
  let how: PullRecord['cache'] = 'miss';
  try {
    const answer = await source.upstream.fetch({
      method: 'GET',
      path: source.path,
      scope: source.scope,
      headers: { accept, ...(etag === undefined ? {} : { 'if-none-match': etag }) },
    });
    note.answered(answer);
    if (answer.statusCode === 304 && etag !== undefined) {
      answer.resume();
      how = 'revalidated';
      return undefined;
    }
    if (answer.statusCode !== 200) {
      answer.resume();
      throw refusal(answer);
    }
    const body = await readWithin(answer, bodyTimeout);
    note.bytes(body.length);
    return check(question, answer, body);
  } finally {
    note.end(how);
  }
}

function check(question: ManifestQuestion, answer: IncomingMessage, body: Buffer): FetchedManifest {
  const { headers } = answer;
  const told = headers['docker-content-digest'];
  const expected = question.digest ?? (typeof told === 'string' && isDigest(told) ? told : undefined);
  const digest = digestOf(body, expected === undefined ? 'sha256' : digestAlgorithm(expected));
  if (expected !== undefined && digest !== expected) {
    throw new OriginAway('it sent a manifest that does not match its digest');
  }
  // A captive portal or an error page of some proxy, with 200.
  if (!/^\s*\{/.test(body.toString('latin1', 0, 64)))
    throw new OriginAway('it sent something that is no manifest');
  const { repository } = question;
  const contentType = (headers['content-type'] ?? mediaTypes.ociManifest).slice(0, 200);
  const manifest: ManifestDocument = { kind: 'manifest', repository, digest, contentType, body };
  const etag = headers.etag;
  return etag === undefined || etag.length > 300 ? { manifest } : { manifest, etag };
}

async function readWithin(answer: IncomingMessage, milliseconds: number): Promise<Buffer> {
  const timer = setTimeout(() => answer.destroy(new Error('the manifest takes too long')), milliseconds);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > manifestLimit) throw new BlobGone('larger than a manifest may be');
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof BlobGone) throw error;
    throw new OriginAway('the answer broke off', { cause: error });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks, size);
}
