import type { IncomingMessage, ServerResponse } from 'node:http';
import { discardBody } from '../../core/http/discard-body.ts';
import { OciError, type OciErrorCode, toErrorBody } from '../../oci/errors.ts';
import type { Verdict } from '../agent/gate.ts';

/** Seconds after which a client may ask again while the origin is away. */
export const retryAfter = 5;

/** The spec's error body, with exactly the headers given. The rest of the request's body is read first, or the client would not see the answer. */
export async function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  code: OciErrorCode,
  options: { headers?: Record<string, string>; message?: string } = {},
): Promise<void> {
  const error = new OciError(code, options.message === undefined ? {} : { message: options.message });
  const body = Buffer.from(`${JSON.stringify(toErrorBody(error))}\n`);
  await discardBody(request);
  if (response.destroyed) return;
  response.writeHead(error.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    'docker-distribution-api-version': 'registry/2.0',
    ...options.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** 503 that says when to come back. */
export function refuseAway(
  request: IncomingMessage,
  response: ServerResponse,
  seconds = retryAfter,
): Promise<void> {
  return refuse(request, response, 'UNAVAILABLE', {
    message: 'the pool cannot reach the origin, and does not have this',
    headers: { 'retry-after': String(Math.max(1, Math.ceil(seconds))) },
  });
}

/** `unknown`: what there is not, in words of the kind that was asked for. */
export function refuseVerdict(
  request: IncomingMessage,
  response: ServerResponse,
  verdict: Exclude<Verdict, { outcome: 'allowed' }>,
  unknown: OciErrorCode,
): Promise<void> {
  switch (verdict.outcome) {
    case 'unauthenticated':
      return refuse(request, response, 'UNAUTHORIZED', {
        headers: { 'www-authenticate': verdict.challenge },
      });
    case 'denied':
      return refuse(request, response, 'DENIED');
    case 'unknown':
      return refuse(request, response, unknown);
    case 'unavailable':
      return refuseAway(request, response, verdict.retryAfter);
  }
}
