import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { Answer } from '../../oci/client/transport.ts';
import { gather } from './gather.ts';
import { OriginAway, type OriginLink } from './origin-link.ts';
import type { ParentPools } from './parent-pools.ts';

export interface BlobPiece {
  readonly repository: string;
  readonly digest: string;
  /** As nginx writes it: `bytes=<first>-<last>`; undefined: the whole blob. */
  readonly range?: string;
}

export interface BlobAnswer {
  /** 200, 206, 416, or what a registry says of a blob that it does not give. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readable;
}

/** Until another replica or parent is asked. */
const patience = 4_400;
const maxResumes = 4;

/**
 * A piece of a blob, from the first parent that has it or from the registry. When the line breaks in the middle the rest is asked for anew: what a digest
 * names never changes. Errors: OriginAway before the first byte; `body` fails when the rest cannot be had.
 */
export async function fetchBlob(
  link: OriginLink,
  parents: ParentPools | undefined,
  piece: BlobPiece,
): Promise<BlobAnswer> {
  const path = `/v2/${piece.repository}/blobs/${piece.digest}`;
  const ask = (range: string | undefined): Promise<Answer> =>
    link.fetch({
      path,
      headers: { accept: '*/*', 'accept-encoding': 'identity', ...(range === undefined ? {} : { range }) },
      repository: piece.repository,
      patience,
    });
  const answer = (await parents?.fetch(path, piece.range)) ?? (await ask(piece.range));
  const headers = headersOf(answer, piece.digest);
  if (answer.status !== 200 && answer.status !== 206) {
    return { status: answer.status, headers, body: answer.body };
  }
  const body = Readable.from(resumed(answer, piece, ask), { objectMode: false });
  // Of a body that nobody began to read.
  body.once('close', () => answer.body.destroy());
  return { status: answer.status, headers, body };
}

/** What is the same whoever sent it, so that pieces of different senders fit together. */
function headersOf({ status, headers }: Answer, digest: string): Record<string, string> {
  if (status === 416) return only(headers, 'content-range');
  if (status !== 200 && status !== 206) return {};
  return {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'accept-ranges': 'bytes',
    ...only(headers, 'content-length'),
    ...only(headers, 'content-range'),
  };
}

function only(
  headers: IncomingHttpHeaders,
  name: 'content-length' | 'content-range',
): Record<string, string> {
  const value = headers[name];
  return value === undefined ? {} : { [name]: value };
}

async function* resumed(
  first: Answer,
  piece: BlobPiece,
  ask: (range: string) => Promise<Answer>,
): AsyncGenerator<Buffer> {
  const range = /^bytes (\d+)-(\d+)\//.exec(first.headers['content-range'] ?? '');
  const start = Number(range?.[1] ?? 0);
  const length = Number(first.headers['content-length'] ?? Number.NaN);
  let received = 0;
  let answer = first;
  for (let attempt = 0; ; attempt += 1) {
    try {
      for await (const chunk of gather(answer.body)) {
        received += chunk.length;
        yield chunk;
      }
      if (Number.isNaN(length) || received >= length) return;
      throw new OriginAway('the answer ended early');
    } catch (error) {
      if (attempt >= maxResumes || Number.isNaN(length) || received >= length) throw error;
      const from = start + received;
      answer = await ask(`bytes=${from}-${start + length - 1}`);
      if (answer.status === 206 && answer.headers['content-range']?.startsWith(`bytes ${from}-`) === true)
        continue;
      answer.body.resume();
      throw new OriginAway(`the rest of ${piece.digest} cannot be had`);
    }
  }
}
