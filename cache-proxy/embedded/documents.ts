import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import type { IndexedDocument } from './cache-index.ts';

/** A manifest as the origin sent it. */
export interface ManifestDocument {
  readonly kind: 'manifest';
  readonly repository: string;
  readonly digest: Digest;
  readonly contentType: string;
  readonly body: Buffer;
}

/** What the origin answered for a tag; the manifest itself lies beside it, under its digest. */
export interface TagDocument {
  readonly kind: 'tag';
  readonly repository: string;
  readonly digest: Digest;
  readonly tag: string;
  /** What clients take: a class of `fetch/accept-class.ts`. */
  readonly accept: string;
  readonly contentType: string;
  readonly etag?: string;
}

export type CachedDocument = ManifestDocument | TagDocument;

/** Specification limit for a manifest; larger ones are passed by no registry. */
export const manifestLimit = 4 * 1024 * 1024;
const headLimit = 8 * 1024;

export function manifestKey(repository: string, digest: string): string {
  return `m|${repository}|${digest}`;
}

export function tagKey(repository: string, tag: string, accept: string): string {
  return `t|${repository}|${tag}|${accept}`;
}

export function keyOfDocument(document: CachedDocument): string {
  return document.kind === 'manifest'
    ? manifestKey(document.repository, document.digest)
    : tagKey(document.repository, document.tag, document.accept);
}

/** One line of JSON, then the body. */
export function encodeDocument(document: CachedDocument): Buffer {
  const { body, ...head } = { body: Buffer.of(), ...document };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
}

/** Undefined: these are not the bytes that were written. */
export function decodeDocument(bytes: Buffer): CachedDocument | undefined {
  const end = bytes.indexOf(10);
  const head = readHead(bytes.subarray(0, Math.max(0, end)));
  if (end < 0 || head === undefined) return undefined;
  const { kind, repository, digest, contentType, tag, accept, etag } = head;
  if (kind === 'tag') {
    if (tag === undefined || accept === undefined) return undefined;
    const document = { kind, repository, digest, tag, accept, contentType } as const;
    return etag === undefined ? document : { ...document, etag };
  }
  const body = bytes.subarray(end + 1);
  if (digestOf(body, digestAlgorithm(digest)) !== digest) return undefined;
  return { kind, repository, digest, contentType, body };
}

export function readDocument(path: string): CachedDocument | undefined {
  try {
    return decodeDocument(readFileSync(path));
  } catch {
    return undefined;
  }
}

/** What the index keeps of a file; undefined: it is none. */
export function documentAbout(path: string): Omit<IndexedDocument, 'used'> | undefined {
  let fd: number | undefined;
  try {
    const bytes = statSync(path).size;
    fd = openSync(path, 'r');
    const buffer = Buffer.alloc(headLimit);
    const read = buffer.subarray(0, readSync(fd, buffer, 0, headLimit, 0));
    const head = readHead(read.subarray(0, Math.max(0, read.indexOf(10))));
    if (head === undefined) return undefined;
    const { kind, repository, digest, tag, accept } = head;
    if (kind === 'manifest') {
      return { kind, key: manifestKey(repository, digest), repository, digest, bytes };
    }
    if (tag === undefined || accept === undefined) return undefined;
    return { kind, key: tagKey(repository, tag, accept), repository, digest, tag, bytes };
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

interface Head {
  readonly kind: 'manifest' | 'tag';
  readonly repository: string;
  readonly digest: Digest;
  readonly contentType: string;
  readonly tag?: string;
  readonly accept?: string;
  readonly etag?: string;
}

function readHead(bytes: Buffer): Head | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, repository, digest, contentType, tag, accept, etag } = value as Record<string, unknown>;
  const texts = [tag, accept, etag].every((each) => each === undefined || typeof each === 'string');
  if (kind !== 'manifest' && kind !== 'tag') return undefined;
  if (typeof repository !== 'string' || typeof digest !== 'string' || !isDigest(digest)) return undefined;
  if (typeof contentType !== 'string' || !texts) return undefined;
  return value as Head;
}
