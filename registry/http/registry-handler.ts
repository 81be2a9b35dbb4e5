import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Authenticator, type Identity, InvalidCredentials } from '../../core/auth/authenticator.ts';
import { discardBody } from '../../core/http/discard-body.ts';
import { createRequestIds, type HttpServer } from '../../core/http/http-server.ts';
import type { Logger } from '../../core/log.ts';
import { isOciError, OciError, ociErrors } from '../../oci/errors.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import { parseRoute, type Route, type RouteKind, routePatterns } from '../../oci/route.ts';
import { describeError, writeError } from './answer-error.ts';
import type { Call, Handler, Method } from './call.ts';
import { challenge, scopesFor } from './challenge.ts';
import type { HandOver } from './hand-over.ts';
import { ping } from './routes-base.ts';
import { deleteBlob, getBlob, headBlob } from './routes-blobs.ts';
import { listReferrers, listRepositories, listTags } from './routes-lists.ts';
import { deleteManifest, getManifest, headManifest, putManifest } from './routes-manifests.ts';
import {
  cancelUpload,
  finishUpload,
  OutOfOrder,
  startUpload,
  uploadStatus,
  writeUpload,
} from './routes-uploads.ts';

export interface RegistryHandlerOptions {
  /** The registry as this identity may use it: whoever composes puts `authorized` around the stored registry here. */
  readonly registryFor: (identity: Identity) => Registry;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin' | 'idle' | 'receive' | 'observe' | 'direct'>;
  readonly log: Logger;
  /** Who else may send a blob's bytes. Default: nobody. */
  readonly handOver?: HandOver;
  /** The `service` of challenges and tokens. Default `brickyard`. */
  readonly service?: string;
}

type Handlers = { readonly [K in RouteKind]: { readonly [M in Method]?: Handler<K> } };

/**
 * Answers everything under `/v2`. It never rejects: a request that fails in an unforeseen way ends as a 500 and a line in the log.
 *
 * It works on Node's own request and response. Fastify's router cannot match names with slashes without rewriting the address,
 * and its per-request objects and hooks cost more than a manifest's whole lookup.
 */
export function createRegistryHandler(
  options: RegistryHandlerOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { authenticator, http, log, handOver, service = 'brickyard' } = options;
  const nextRequestId = createRequestIds();
  const handlers: Handlers = {
    base: {
      GET: (call) => ping(call, authenticator.required),
      HEAD: (call) => ping(call, authenticator.required),
    },
    catalog: { GET: listRepositories },
    blob: { GET: getBlob, HEAD: headBlob, DELETE: deleteBlob },
    uploads: { POST: startUpload },
    upload: { GET: uploadStatus, PATCH: writeUpload, PUT: finishUpload, DELETE: cancelUpload },
    manifest: { GET: getManifest, HEAD: headManifest, PUT: putManifest, DELETE: deleteManifest },
    tags: { GET: listTags },
    referrers: { GET: listReferrers },
  };
  // In open mode every request has the same identity; then there is one registry and nothing is made per request.
  const registries = new WeakMap<Identity, Registry>();
  const registryOf = (identity: Identity): Registry => {
    let registry = registries.get(identity);
    if (registry === undefined) {
      registry = options.registryFor(identity);
      registries.set(identity, registry);
    }
    return registry;
  };

  return async (request, response) => {
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    const route = parseRoute(mark < 0 ? target : target.slice(0, mark));
    http.observe(request, response, route === undefined ? '/v2/…' : routePatterns[route.kind]);
    try {
      if (route === undefined) throw new OciError('NAME_UNKNOWN', { message: 'no such end in this API' });
      const handler = findHandler(handlers, route, request.method);
      if ('repository' in route && !isRepositoryName(route.repository)) throw new OciError('NAME_INVALID');
      const identity = await authenticator.identify(
        request.headers.authorization,
        request.headers.authorization === undefined ? undefined : http.origin.address(request),
      );
      const search = mark < 0 ? undefined : target.slice(mark + 1);
      await handler({
        request,
        response,
        route,
        search,
        identity,
        registry: registryOf(identity),
        idle: http.idle,
        receive: http.receive,
        handOver,
        log,
      });
    } catch (error) {
      await fail(error, request, response, route);
    }
  };

  async function fail(
    error: unknown,
    request: IncomingMessage,
    response: ServerResponse,
    route: Route | undefined,
  ): Promise<void> {
    // The client is gone: there is nobody to answer and nothing of ours is wrong.
    if (request.socket.destroyed || (request.destroyed && !request.complete)) {
      response.destroy();
      return;
    }
    let requestId: string | undefined;
    const answer = describeError(toRefusal(error, request), () => (requestId ??= nextRequestId()));
    if (answer.ours) {
      const { method } = request;
      const pattern = route === undefined ? undefined : routePatterns[route.kind];
      log.error({ err: error, requestId, method, route: pattern }, 'registry request failed');
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const headers = [...answer.headers, ...ownHeaders(error)];
    if (answer.status === 401) headers.push('WWW-Authenticate', challengeFor(error, request, route));
    http.idle.watchBody(request);
    await writeError(response, { ...answer, headers }, discardBody(request));
  }

  /**
   * A token that grants too little is refused with 401, not 403: that is how a client learns to fetch one that grants more
   * (docker pulls with one token and pushes with the next). The code stays, so that a person reads "denied".
   * A refusal that gives a reason of its own (a fixed tag, a mirror) is about no token, and no other token would help.
   */
  function toRefusal(error: unknown, request: IncomingMessage): unknown {
    if (error instanceof InvalidCredentials) return asUnauthorized(error);
    const scope = isOciError(error, 'DENIED') && error.message === ociErrors.DENIED.message;
    if (scope && isBearer(request)) return new InsufficientScope();
    return error;
  }

  function challengeFor(error: unknown, request: IncomingMessage, route: Route | undefined): string {
    const from = new URLSearchParams(request.url?.split('?', 2)[1] ?? '').get('from') ?? undefined;
    const scopes = route === undefined ? [] : scopesFor(request.method, route, from);
    let reason: 'insufficient_scope' | 'invalid_token' | undefined;
    if (isBearer(request))
      reason = error instanceof InvalidCredentials ? 'invalid_token' : 'insufficient_scope';
    return challenge(http.origin.publicOrigin(request), service, scopes, reason);
  }
}

class InsufficientScope extends OciError {
  constructor() {
    super('DENIED');
  }
  override get status(): number {
    return 401;
  }
}

function asUnauthorized(error: InvalidCredentials): unknown {
  return 'retryAfter' in error ? error : new OciError('UNAUTHORIZED', { cause: error });
}

function isBearer(request: IncomingMessage): boolean {
  return /^bearer /i.test(request.headers.authorization ?? '');
}

/** Errors: UNSUPPORTED, with `Allow`. */
function findHandler(
  handlers: Handlers,
  route: Route,
  method: string | undefined,
): (call: Call) => Promise<void> {
  // One route's handlers expect that route's own kind, which is how they are found here.
  const ofRoute = handlers[route.kind] as unknown as Partial<Record<string, (call: Call) => Promise<void>>>;
  const handler = method === undefined || !Object.hasOwn(ofRoute, method) ? undefined : ofRoute[method];
  if (handler === undefined) throw new MethodNotAllowed(Object.keys(ofRoute));
  return handler;
}

class MethodNotAllowed extends OciError {
  readonly headers: readonly string[];
  constructor(allowed: readonly string[]) {
    super('UNSUPPORTED');
    this.headers = ['Allow', allowed.join(', ')];
  }
}

function ownHeaders(error: unknown): readonly string[] {
  return error instanceof MethodNotAllowed || error instanceof OutOfOrder ? error.headers : [];
}
