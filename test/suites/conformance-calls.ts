import { expect } from 'vitest';
import type { Digest } from '../../oci/digest.ts';
import { type HttpAnswer, send } from '../helpers/raw-http.ts';

export const octets = { 'content-type': 'application/octet-stream' };
export const repository = 'conformance/one';
export const other = 'conformance/two';

type SendOptions = Parameters<typeof send>[3];

/** The steps that conformance cases are made of. */
export interface ConformanceCalls {
  readonly call: (method: string, path: string, options?: SendOptions) => Promise<HttpAnswer>;
  readonly blobPath: (digest: string, of?: string) => string;
  readonly manifestPath: (reference: string) => string;
  /** What a Location points at, as a path with one more parameter. */
  readonly follow: (answer: HttpAnswer, query?: string) => string;
  readonly open: (of?: string) => Promise<HttpAnswer>;
  readonly push: (content: Buffer, digest: Digest, of?: string) => Promise<void>;
  /** Sends a body to a session; `start` makes it a chunk with Content-Range. */
  readonly patch: (
    at: HttpAnswer,
    content: Buffer,
    start?: number,
    method?: string,
    query?: string,
  ) => Promise<HttpAnswer>;
  readonly expectStored: (created: HttpAnswer, content: Buffer, digest: Digest) => Promise<void>;
  readonly expectDeleted: (path: string) => Promise<void>;
}

/** `base` is asked at each call, as the server starts after the cases are declared. */
export function createConformanceCalls(base: () => string): ConformanceCalls {
  const call = (method: string, path: string, options?: SendOptions): Promise<HttpAnswer> =>
    send(base(), method, path, options);
  const blobPath = (digest: string, of = repository): string => `/v2/${of}/blobs/${digest}`;
  const manifestPath = (reference: string): string => `/v2/${repository}/manifests/${reference}`;

  const follow = (answer: HttpAnswer, query = ''): string => {
    const location = new URL(answer.headers.location ?? '', base());
    if (query !== '') location.search += `${location.search === '' ? '?' : '&'}${query}`;
    return location.pathname + location.search;
  };
  const open = async (of = repository): Promise<HttpAnswer> => {
    const opened = await call('POST', `/v2/${of}/blobs/uploads/`, { headers: { 'content-length': 0 } });
    expect(opened.status).toBe(202);
    return opened;
  };
  const push = async (content: Buffer, digest: Digest, of = repository): Promise<void> => {
    const put = await call('PUT', follow(await open(of), `digest=${digest}`), {
      headers: { ...octets, 'content-length': content.length },
      body: content,
    });
    expect(put.status).toBe(201);
  };
  const patch = async (
    at: HttpAnswer,
    content: Buffer,
    start?: number,
    method = 'PATCH',
    query = '',
  ): Promise<HttpAnswer> =>
    call(method, follow(at, query), {
      headers: {
        ...octets,
        'content-length': content.length,
        ...(start === undefined ? {} : { 'content-range': `${start}-${start + content.length - 1}` }),
      },
      body: content,
    });
  const expectStored = async (created: HttpAnswer, content: Buffer, digest: Digest): Promise<void> => {
    expect(created.status).toBe(201);
    expect(created.headers['docker-content-digest']).toBe(digest);
    expect((await call('GET', follow(created))).body.equals(content)).toBe(true);
    const head = await call('HEAD', blobPath(digest));
    expect(head.status).toBe(200);
    expect(head.headers['content-length']).toBe(String(content.length));
    expect(head.headers['docker-content-digest']).toBe(digest);
    expect(head.body).toHaveLength(0);
    const got = await call('GET', blobPath(digest));
    expect(got.headers['docker-content-digest']).toBe(digest);
    expect(got.body.equals(content)).toBe(true);
  };
  const expectDeleted = async (path: string): Promise<void> => {
    expect((await call('DELETE', path)).status).toBe(202);
    expect((await call('HEAD', path)).status).toBe(404);
  };
  return { call, blobPath, manifestPath, follow, open, push, patch, expectStored, expectDeleted };
}
