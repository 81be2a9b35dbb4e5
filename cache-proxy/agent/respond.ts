import type { ServerResponse } from 'node:http';
import { OciError, type OciErrorCode, ociErrors, toErrorBody } from '../../oci/errors.ts';

/** Small answers of the agent, with the bodies that registry clients read. */
export function respondJson(response: ServerResponse, status: number, value: object): void {
  const body = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}

/** `status`: other than the code's own. */
export function refuse(
  response: ServerResponse,
  code: OciErrorCode,
  status: number = ociErrors[code].status,
): void {
  respondJson(response, status, toErrorBody(new OciError(code)));
}

/** Nobody knows while the origin cannot be asked: try again in so many seconds. */
export function unavailable(response: ServerResponse, retryAfter: number): void {
  response.setHeader('Retry-After', String(Math.max(1, Math.ceil(retryAfter))));
  const message = 'the pool cannot ask its origin, and has no answer of its own';
  respondJson(response, 503, toErrorBody(new OciError('UNAVAILABLE', { message })));
}
