import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { request as httpRequest } from '../core/http/node-http.ts';
import { UserError } from '../core/user-error.ts';

/** What a server said to a file that was sent to it. */
export interface UploadAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Sends a file as the body of a POST, with its length, and tells how far it is. An answer that comes early, a refusal, ends the sending.
 * Errors: UserError when the server cannot be reached or goes away without an answer.
 */
export async function uploadFile(options: {
  url: string;
  file: string;
  authorization?: string;
  onProgress: (sent: number, total: number) => void;
}): Promise<UploadAnswer> {
  const url = new URL(options.url);
  const { size } = await stat(options.file);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const request = send(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': size,
      ...(options.authorization === undefined ? {} : { Authorization: options.authorization }),
    },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  const done = new AbortController();
  const sending = pipeline(
    createReadStream(options.file),
    async function* (chunks: AsyncIterable<Buffer>) {
      let sent = 0;
      for await (const chunk of chunks) {
        yield chunk;
        sent += chunk.length;
        options.onProgress(sent, size);
      }
    },
    request,
    { signal: done.signal },
  );
  // Why it broke off is said by the answer, or by the request's own error.
  sending.catch(() => {});
  try {
    const response = await answered;
    return { status: response.statusCode ?? 0, body: await text(response) };
  } catch (cause) {
    throw new UserError(
      `${url.origin} ended the connection before it answered: ${(cause as Error).message}`,
      { cause },
    );
  } finally {
    done.abort();
  }
}
