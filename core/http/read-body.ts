import type { IncomingMessage } from 'node:http';

/** The body is larger than its reader accepts. Raised before more than the limit was kept. */
export class BodyTooLarge extends Error {
  override readonly name = 'BodyTooLarge';
}

/**
 * A small body as one buffer. `Content-Length` is believed only to refuse early and to allocate once.
 * Errors: BodyTooLarge; what the connection raises when the client leaves in the middle.
 */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const announced = request.headers['content-length'];
  if (announced !== undefined && Number(announced) > limit) throw new BodyTooLarge('request body too large');
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop early would destroy the request and with it the connection the response has to go through.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new BodyTooLarge('request body too large');
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size);
}
