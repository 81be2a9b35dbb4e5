import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** A stream that knows a cheaper way to a target than through its reader: files do, with one buffer that goes round. */
export interface SendableStream extends Readable {
  /** As `pipeline(this, response)`; only while nobody has read from the stream. */
  sendTo(response: ServerResponse): Promise<void>;
}

/** Ends `response` after the last byte, and destroys both when one of them fails. Errors: that failure. */
export async function sendBody(body: Readable, response: ServerResponse): Promise<void> {
  await (isSendable(body) ? body.sendTo(response) : pipeline(body, response));
}

function isSendable(body: Readable): body is SendableStream {
  return 'sendTo' in body && typeof body.sendTo === 'function';
}
