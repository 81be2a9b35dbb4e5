import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Identity } from '../../core/auth/authenticator.ts';
import type { Action } from '../../core/auth/authorizer.ts';
import type { IdleGuard } from '../../core/http/idle-guard.ts';
import type { Logger } from '../../core/log.ts';
import { OciError } from '../../oci/errors.ts';
import type { Registry, UploadOwner } from '../../oci/registry.ts';
import type { Route, RouteKind } from '../../oci/route.ts';
import type { HandOver } from './hand-over.ts';

type RouteOf<K extends RouteKind> = K extends RouteKind ? Extract<Route, { kind: K }> : never;

/** One request to the registry, as the handler of a route of kind `K` sees it. */
export type Call<K extends RouteKind = RouteKind> = CallOf<RouteOf<K>>;

interface CallOf<R extends Route> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: R;
  /** What stands behind `?`, not parsed; undefined where there is none. */
  readonly search: string | undefined;
  readonly identity: Identity;
  /** The registry as this identity may use it. */
  readonly registry: Registry;
  readonly idle: IdleGuard;
  /** The body of `request`, however long. */
  readonly receive: (request: IncomingMessage) => Readable;
  /** Who else may send a blob's bytes; undefined: nobody. */
  readonly handOver?: HandOver | undefined;
  readonly log: Logger;
}

/** Answers the call or throws; every OciError becomes the spec's body. */
export type Handler<K extends RouteKind> = (call: Call<K>) => Promise<void>;

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export function queryOf(call: { readonly search: string | undefined }): URLSearchParams {
  return new URLSearchParams(call.search ?? '');
}

/** Sessions belong to whoever opened them. */
export function ownerOf(call: Call): UploadOwner {
  const { principal } = call.identity;
  return principal.anonymous ? {} : { owner: principal.name };
}

/**
 * Refuses before a body is read into memory; the registry behind decides again for itself.
 * Errors: UNAUTHORIZED for nobody in particular, DENIED for somebody.
 */
export function requireRight(call: Call, action: Action, repository: string): void {
  const { principal, authorizer } = call.identity;
  if (authorizer.may(principal, action, repository)) return;
  throw new OciError(principal.anonymous ? 'UNAUTHORIZED' : 'DENIED');
}

/** Whether bytes follow the head: an absent body and one of length 0 are told apart by nobody. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return length === undefined ? request.headers['transfer-encoding'] !== undefined : Number(length) > 0;
}

/** Undefined for a chunked body. */
export function contentLength(request: IncomingMessage): number | undefined {
  const length = request.headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

/** What every response of the registry carries (docker's daemon looks for it on `/v2/`). */
export const apiVersion = ['Docker-Distribution-Api-Version', 'registry/2.0'] as const;

/** A response without a body. `headers` alternates names and values. */
export function answer(call: Call, status: number, headers: readonly string[]): void {
  call.response.writeHead(status, [
    ...apiVersion,
    ...headers,
    ...(status === 204 ? [] : ['Content-Length', '0']),
  ]);
  call.response.end();
}

export function answerJson(
  call: Call,
  headers: readonly string[],
  json: string,
  type = 'application/json',
): void {
  call.response.writeHead(200, [
    ...apiVersion,
    ...headers,
    'Content-Type',
    type,
    'Content-Length',
    String(Buffer.byteLength(json)),
  ]);
  call.response.end(json);
}
