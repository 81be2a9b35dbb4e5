import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { createServer } from '../../core/http/node-http.ts';
import { isDigest } from '../../oci/digest.ts';
import { OciError, type OciErrorCode, toErrorBody } from '../../oci/errors.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { AccessRequest, Gate, Verdict } from '../agent/gate.ts';
import { acceptClass } from '../fetch/accept-class.ts';
import { fetchManifest, type ManifestAnswer } from '../fetch/fetch-manifest.ts';
import { OriginAway, type OriginLink } from '../fetch/origin-link.ts';
import { passedHeaders, passRequest } from '../fetch/pass-request.ts';
import type { PoolLinks } from '../fetch/pool-links.ts';
import type { SharedAsks } from '../fetch/shared-asks.ts';
import type { EngineLog } from '../pool-engine.ts';
import type { PullRecord } from '../pull-record.ts';
import type { ArrivingBlobs } from './arriving-blobs.ts';
import type { LookAhead } from './look-ahead.ts';
import type { ShardGrants } from './shard-grant.ts';
import type { TagQuestions } from './tag-questions.ts';

export interface PoolControlDeps {
  readonly gate: Gate;
  /** Those of the configuration in force. */
  readonly links: () => PoolLinks;
  /** Undefined: the pool has one proxy. */
  readonly grants: () => ShardGrants | undefined;
  /** Fetches pieces of blobs. */
  readonly lookAhead: Pick<LookAhead, 'fetch'>;
  readonly arriving: ArrivingBlobs;
  readonly onRecord: (record: PullRecord) => void;
  /** What the cache has of a tag that another client could take. `repository`: with `ns/` before it, as everywhere in the cache. */
  readonly keptTag: (repository: string, tag: string, accept: string) => Promise<ManifestAnswer | undefined>;
  readonly tagQuestions: TagQuestions;
  /** Manifests by digest that are under way. */
  readonly manifestAsks: SharedAsks<OriginLink, ManifestAnswer>;
  /** The registry says that it does not have this tag. */
  readonly onMissingTag: (repository: string, tag: string) => void;
  readonly log: EngineLog;
}

/**
 * What nginx asks on its socket, which nobody else can reach: `/authz` who may have what, `/blob` and `/manifest` for what its cache does not hold,
 * `/pass` for what is the registry's own business. nginx names registry, repository and reference in headers, from its own reading of the path.
 */
export function createPoolControl(deps: PoolControlDeps): Server {
  const { log } = deps;
  const server = createServer({ requestTimeout: 0, headersTimeout: 20_000 }, (request, response) => {
    route(deps, request, response).catch((error: unknown) => {
      if (error instanceof OriginAway) return refuse(response, 503, 'UNAVAILABLE', error.message);
      if (!response.destroyed) log.error({ err: error }, 'a request of the proxy failed');
      refuse(response, 503, 'UNAVAILABLE', 'the agent of the pool failed');
    });
  });
  // Longer than nginx keeps an idle one, so that it never sends into a connection that is being closed.
  server.keepAliveTimeout = 120_000;
  server.maxRequestsPerSocket = 0;
  return server;
}

async function route(
  deps: PoolControlDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = request.url ?? '';
  if (url === '/authz') return answerAccess(deps, request, response);
  if (url === '/blob') return sendBlob(deps, request, response);
  if (url === '/manifest') return sendManifest(deps, request, response);
  if (url.startsWith('/pass/')) return pass(deps, request, response, url.slice('/pass'.length));
  response.writeHead(404).end();
}

/**
 * 204, or 403 with the status that the client gets: nginx takes every other answer for a failure. `X-Pool-Accept` comes along, as nginx sees only the
 * first of several Accept headers. A blob that still comes from the registry has a location of its own, and the verdict `arriving` leads there.
 */
async function answerAccess(
  deps: PoolControlDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume();
  const access = readAccess(request);
  const grants = deps.grants();
  const verdict: Verdict =
    access === undefined
      ? { outcome: 'unknown' }
      : grants?.verify(access, header(request, 'x-pool-shard')) === true
        ? { outcome: 'allowed', prewarm: false }
        : await deps.gate.decide(access);
  switch (verdict.outcome) {
    case 'allowed': {
      const blob = header(request, 'x-pool-slices') === '1' ? header(request, 'x-pool-digest') : undefined;
      if (blob !== undefined && !verdict.prewarm && (await deps.arriving.isArriving(blob))) {
        response.writeHead(403, { 'x-pool-verdict': 'arriving' });
        break;
      }
      response.writeHead(204, {
        'x-pool-accept': acceptClass(request.headers.accept),
        ...(verdict.prewarm ? { 'x-pool-prewarm': '1' } : {}),
        ...(grants === undefined || access === undefined ? {} : { 'x-pool-grant': grants.give(access) }),
      });
      break;
    }
    case 'unauthenticated':
      response.writeHead(403, { 'x-pool-verdict': '401', 'x-pool-challenge': verdict.challenge });
      break;
    case 'denied':
      response.writeHead(403, { 'x-pool-verdict': '403' });
      break;
    case 'unknown':
      response.writeHead(403, { 'x-pool-verdict': '404' });
      break;
    case 'unavailable':
      response.writeHead(403, {
        'x-pool-verdict': '503',
        'retry-after': String(Math.max(1, Math.ceil(verdict.retryAfter))),
      });
  }
  response.end();
}

/** Undefined for what no registry can have. */
function readAccess(request: IncomingMessage): AccessRequest | undefined {
  const { authorization } = request.headers;
  const repository = header(request, 'x-pool-repo') ?? '';
  const digest = header(request, 'x-pool-digest');
  const tag = header(request, 'x-pool-ref');
  const ns = header(request, 'x-pool-ns');
  const client = header(request, 'x-pool-client');
  if (!isRepositoryName(repository)) return undefined;
  const reference = digest === undefined ? (isTag(tag ?? '') ? { tag: tag ?? '' } : undefined) : { digest };
  if (reference === undefined || (digest !== undefined && !isDigest(digest))) return undefined;
  return {
    repository,
    reference,
    kind: header(request, 'x-pool-kind') === 'blob' ? 'blob' : 'manifest',
    ...(authorization === undefined ? {} : { authorization }),
    ...(ns === undefined ? {} : { ns }),
    ...(client === undefined ? {} : { client }),
  };
}

async function sendBlob(
  deps: PoolControlDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const recorded = startRecord(deps, request, 'blob');
  const { range } = request.headers;
  const piece = {
    repository: header(request, 'x-pool-repo') ?? '',
    digest: header(request, 'x-pool-digest') ?? '',
    ...(range === undefined ? {} : { range }),
  };
  const answer = await deps.lookAhead
    .fetch(linkOf(deps, request), {
      piece,
      wanted: header(request, 'x-pool-range'),
      prewarm: header(request, 'x-pool-prewarm') === '1',
      record: () => startRecord(deps, request, 'blob'),
    })
    .catch((error: unknown) => {
      recorded(503, 0);
      throw error;
    });
  const { status, headers, body } = answer;
  if (status === 416 || status >= 400) {
    body.resume();
    recorded(status, 0);
    if (status === 416) response.writeHead(416).end();
    else if (status === 403) refuse(response, 403, 'DENIED');
    else if (status === 404) refuse(response, 404, 'BLOB_UNKNOWN');
    else refuse(response, 503, 'UNAVAILABLE', `the registry answered ${status}`);
    return;
  }
  let sent = 0;
  body.on('data', (chunk: Buffer) => {
    sent += chunk.length;
  });
  response.writeHead(status, headers);
  try {
    await pipeline(body, response);
  } catch {
    // The line broke, or nginx left: it sees the same, and keeps nothing of it.
    response.destroy();
  } finally {
    recorded(status, sent);
  }
}

async function sendManifest(
  deps: PoolControlDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const digest = header(request, 'x-pool-digest');
  const tag = header(request, 'x-pool-ref');
  const repository = header(request, 'x-pool-repo') ?? '';
  const ns = header(request, 'x-pool-ns');
  const key = ns === undefined ? repository : `${ns}/${repository}`;
  const ifNoneMatch = request.headers['if-none-match'];
  const accept = acceptClass(request.headers.accept);
  const { link } = linkOf(deps, request);
  const fetch = async (): Promise<ManifestAnswer> => {
    const recorded = startRecord(deps, request, digest === undefined ? 'tag' : 'manifest');
    try {
      const found = await fetchManifest(link, {
        repository,
        reference: digest ?? tag ?? '',
        accept,
        ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }),
      });
      recorded(found.status, found.body.length);
      if (found.status === 404 && tag !== undefined) deps.onMissingTag(key, tag);
      return found;
    } catch (error) {
      recorded(503, 0);
      throw error;
    }
  };
  // With If-None-Match nginx has an answer of its own.
  const readKept = async (): Promise<ManifestAnswer | undefined> =>
    tag === undefined || ifNoneMatch !== undefined ? undefined : deps.keptTag(key, tag, accept);
  let answer: ManifestAnswer;
  try {
    answer = await (digest === undefined
      ? askTag(deps, link, { key: `${key}|${tag}|${accept}`, ifNoneMatch }, fetch, readKept)
      : deps.manifestAsks.ask(link, `${key}|${digest}|${ifNoneMatch}`, fetch));
  } catch (error) {
    const kept = await readKept();
    if (kept === undefined) throw error;
    response.writeHead(200, {
      ...kept.headers,
      'content-length': kept.body.length,
      'x-accel-expires': '0',
      'x-pool-stale': '1',
    });
    response.end(kept.body);
    return;
  }
  const { status, headers, body } = answer;
  if (status === 200 || status === 304) {
    response.writeHead(status, {
      ...headers,
      ...(status === 200 ? { 'content-length': body.length } : {}),
      // Kept, and old at once: every pull of a tag asks again. A digest's answer never changes.
      ...(digest === undefined ? { 'x-accel-expires': '@1' } : {}),
    });
    response.end(body);
    return;
  }
  if (status === 403) refuse(response, 403, 'DENIED');
  else if (status === 404) refuse(response, 404, 'MANIFEST_UNKNOWN');
  else refuse(response, 503, 'UNAVAILABLE', `the registry answered ${status}`);
}

/** While the line crawls, whoever has something to go on with does not wait for it. Errors: those of `fetch`, and OriginAway: no answer yet. */
async function askTag(
  { tagQuestions }: PoolControlDeps,
  { hurry }: OriginLink,
  { key, ifNoneMatch }: { readonly key: string; readonly ifNoneMatch: string | undefined },
  fetch: () => Promise<ManifestAnswer>,
  readKept: () => Promise<ManifestAnswer | undefined>,
): Promise<ManifestAnswer> {
  const hasOne = hurry !== undefined && (ifNoneMatch !== undefined || (await readKept()) !== undefined);
  if (hasOne) return tagQuestions.ask({ key, ifNoneMatch, hurry }, fetch);
  tagQuestions.forget(key);
  return fetch();
}

async function pass(
  deps: PoolControlDeps,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Promise<void> {
  const { pool } = deps.links();
  const client = header(request, 'x-pool-client');
  const passing = {
    path,
    endpoint: pool.endpoint,
    origins: pool.origin.urls,
    ...(client === undefined ? {} : { client }),
  };
  const answer = await passRequest(linkOf(deps, request).link, request, passing);
  response.writeHead(answer.status, passedHeaders(answer, passing));
  try {
    await pipeline(answer.body, response);
  } catch {
    response.destroy();
  }
}

function linkOf(deps: PoolControlDeps, request: IncomingMessage): ReturnType<PoolLinks['of']> {
  return deps.links().of(header(request, 'x-pool-ns'));
}

/** Of a fetch from a registry; the request of the client stands in nginx' log. */
function startRecord(
  { onRecord }: PoolControlDeps,
  request: IncomingMessage,
  kind: PullRecord['kind'],
): (status: number, bytes: number) => void {
  const started = performance.now();
  const ns = header(request, 'x-pool-ns');
  const digest = header(request, 'x-pool-digest');
  const tag = header(request, 'x-pool-ref');
  return (status, bytes) =>
    onRecord({
      time: Date.now(),
      id: header(request, 'x-request-id') ?? '',
      side: 'origin',
      kind,
      ...(ns === undefined ? {} : { ns }),
      repository: header(request, 'x-pool-repo') ?? '',
      ...(digest === undefined ? {} : { digest }),
      ...(tag === undefined || digest !== undefined ? {} : { tag }),
      method: 'GET',
      status,
      cache: status === 304 ? 'revalidated' : 'miss',
      bytes,
      seconds: (performance.now() - started) / 1000,
      prewarm: header(request, 'x-pool-prewarm') === '1',
    });
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function refuse(response: ServerResponse, status: number, code: OciErrorCode, message?: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = JSON.stringify(toErrorBody(new OciError(code, message === undefined ? {} : { message })));
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...(status === 503 ? { 'retry-after': '5' } : {}),
    })
    .end(body);
}
