import type { ServerResponse } from 'node:http';
import { TooManyAttempts } from '../../core/auth/authenticator.ts';
import { BodyTooLarge } from '../../core/http/read-body.ts';
import { ObjectStoreFull, ObjectStoreUnavailable } from '../../core/object-store/object-store.ts';
import { isOciError, OciError, toErrorBody } from '../../oci/errors.ts';
import { TooManyUploads } from '../decorators/limited-uploads.ts';
import { UpstreamError } from '../mirror/upstream-error.ts';
import { apiVersion } from './call.ts';

/** What a failed call's response says. `headers` alternates names and values. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
  /** True: the reason is ours and belongs in the log, under `requestId`. */
  readonly ours: boolean;
}

/** `requestId` is told to the client for a 5xx, which says nothing else (unless the disk is full). */
export function describeError(error: unknown, requestId: () => string): ErrorAnswer {
  const known = toOciError(error);
  if (known instanceof UpstreamError) {
    // Another registry's trouble, which the log has already; whoever pulls may know which one it is.
    const headers = ['Retry-After', String(Math.max(1, Math.ceil(known.retryAfter)))];
    return { status: known.status, headers, body: bodyOf(known), ours: false };
  }
  if (known.status >= 500) {
    const full = [error, known.cause].some((reason) => reason instanceof ObjectStoreFull);
    const detail = { requestId: requestId() };
    // The one reason that whoever pushes may know, and can tell the right person.
    const unknown = full
      ? new OciError('UNAVAILABLE', { message: "the server's disk is full", detail })
      : new OciError('UNKNOWN', { detail });
    const headers = known.status === 503 ? ['Retry-After', '2'] : [];
    return { status: known.status, headers, body: bodyOf(unknown), ours: true };
  }
  const headers = known.code === 'TOOMANYREQUESTS' ? ['Retry-After', String(retryAfter(error))] : [];
  return { status: known.status, headers, body: bodyOf(known), ours: false };
}

/** Ends the response when `bodyRead` says that the request's body is out of the way. */
export async function writeError(
  response: ServerResponse,
  answer: ErrorAnswer,
  bodyRead: Promise<void>,
): Promise<void> {
  response.writeHead(answer.status, [
    ...apiVersion,
    ...answer.headers,
    'Content-Type',
    'application/json',
    'Content-Length',
    String(Buffer.byteLength(answer.body)),
  ]);
  response.write(answer.body);
  await bodyRead;
  response.end();
}

function toOciError(error: unknown): OciError {
  if (isOciError(error)) return error;
  if (error instanceof BodyTooLarge) return new OciError('SIZE_TOO_LARGE');
  if (error instanceof TooManyAttempts) return new OciError('TOOMANYREQUESTS');
  if (error instanceof ObjectStoreUnavailable) return new OciError('UNAVAILABLE', { cause: error });
  return new OciError('UNKNOWN', { cause: error });
}

function retryAfter(error: unknown): number {
  const known = error instanceof TooManyAttempts || error instanceof TooManyUploads;
  return known ? Math.max(1, Math.ceil(error.retryAfter)) : 1;
}

function bodyOf(error: OciError): string {
  return `${JSON.stringify(toErrorBody(error))}\n`;
}
