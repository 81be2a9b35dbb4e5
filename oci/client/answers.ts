import type { Readable } from 'node:stream';
import { OciError, type OciErrorCode, ociErrors } from '../errors.ts';
import type { RouteKind } from '../route.ts';
import type { Answer } from './transport.ts';

/** Bytes of an error's body that are looked at. */
const errorLimit = 64 * 1024;

/** What a server refused, as opposed to a server that could not be asked. */
export class RefusedCall extends OciError {
  /** HTTP status. A server may send any code with any status; whoever decides by kind of refusal goes by this. */
  readonly answered: number;
  /** Seconds, from Retry-After. */
  readonly retryAfter: number | undefined;
  constructor(
    code: OciErrorCode,
    about: { readonly answered: number; readonly retryAfter: number | undefined },
    options: { message: string; detail?: unknown },
  ) {
    super(code, options);
    this.answered = about.answered;
    this.retryAfter = about.retryAfter;
  }
}

/** Throws what a response of 4xx or 5xx means. `kind` tells what a bare 404 was about. */
export async function throwAnswer(answer: Answer, kind: RouteKind): Promise<never> {
  const told = await readError(answer);
  const { status } = answer;
  const about = { answered: status, retryAfter: readRetryAfter(answer.headers['retry-after']) };
  if (status >= 500)
    throw new RefusedCall('UNAVAILABLE', about, { message: `${answer.url.host} answered ${status}` });
  const code = told?.code ?? codeOf(status, kind);
  const message = told?.message ?? `${answer.url.host} answered ${status}`;
  throw new RefusedCall(code, about, {
    message,
    ...(told?.detail === undefined ? {} : { detail: told.detail }),
  });
}

/** The body up to `limit` bytes. Errors: SIZE_TOO_LARGE, UNAVAILABLE when it breaks off. */
export async function readBytes(body: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit)
        throw new OciError('SIZE_TOO_LARGE', { message: 'the answer is larger than allowed' });
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof OciError) throw error;
    throw new OciError('UNAVAILABLE', { message: 'the answer broke off', cause: error });
  }
  return Buffer.concat(chunks, size);
}

/** Errors: UNAVAILABLE for what is no JSON object. */
export async function readJson(body: Readable, limit: number): Promise<Record<string, unknown>> {
  const bytes = await readBytes(body, limit);
  const value = parseJson(bytes);
  if (!isObject(value)) throw new OciError('UNAVAILABLE', { message: 'the answer is no JSON object' });
  return value;
}

/** So that the connection can be used again; what is longer than a few kilobytes is cut off instead. */
export async function drain(answer: Answer): Promise<void> {
  try {
    await readBytes(answer.body, errorLimit);
  } catch {
    answer.body.destroy();
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function readError(
  answer: Answer,
): Promise<{ code: OciErrorCode; message?: string; detail?: unknown } | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readBytes(answer.body, errorLimit);
  } catch {
    answer.body.destroy();
    return undefined;
  }
  const value = parseJson(bytes);
  const first: unknown = isObject(value) && Array.isArray(value['errors']) ? value['errors'][0] : undefined;
  if (!isObject(first) || typeof first['code'] !== 'string' || !Object.hasOwn(ociErrors, first['code'])) {
    return undefined;
  }
  const message =
    typeof first['message'] === 'string' && first['message'] !== '' ? first['message'] : undefined;
  return {
    code: first['code'] as OciErrorCode,
    ...(message === undefined ? {} : { message: message.slice(0, 500) }),
    ...(first['detail'] === undefined ? {} : { detail: first['detail'] }),
  };
}

/** RFC 9110 10.2.3: seconds or a date. */
function readRetryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}

/** The answer to HEAD has no body, and not every registry writes one elsewhere. */
function codeOf(status: number, kind: RouteKind): OciErrorCode {
  switch (status) {
    case 401:
      return 'UNAUTHORIZED';
    case 403:
      return 'DENIED';
    case 404:
      return unknownOf[kind];
    case 405:
      return 'UNSUPPORTED';
    case 413:
      return 'SIZE_TOO_LARGE';
    case 416:
      return 'RANGE_INVALID';
    case 429:
      return 'TOOMANYREQUESTS';
    default:
      return 'UNKNOWN';
  }
}

const unknownOf: Readonly<Record<RouteKind, OciErrorCode>> = {
  base: 'UNSUPPORTED',
  catalog: 'UNSUPPORTED',
  blob: 'BLOB_UNKNOWN',
  uploads: 'NAME_UNKNOWN',
  upload: 'BLOB_UPLOAD_UNKNOWN',
  manifest: 'MANIFEST_UNKNOWN',
  tags: 'NAME_UNKNOWN',
  referrers: 'NAME_UNKNOWN',
};

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
