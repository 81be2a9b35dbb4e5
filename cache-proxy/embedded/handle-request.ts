import type { Agent, IncomingMessage, ServerResponse } from 'node:http';
import { formatScope } from '../../oci/scope.ts';
import type { Verdict } from '../agent/gate.ts';
import type { PoolEngineDeps } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { poolHeader } from '../pools/pool-header.ts';
import { refuse, refuseVerdict } from './answer.ts';
import { answerBlob, type BlobAnswerDeps, refuseFetch } from './blob-answer.ts';
import type { BlobSource } from './blob-fetch.ts';
import { aboutOf, beginExchange, type Exchange } from './exchange.ts';
import { endToEnd, forwardToAgent, forwardToOrigin, rewritten } from './forward.ts';
import type { ManifestAnswers } from './manifest-answer.ts';
import { type Place, readTarget, type Target } from './read-target.ts';
import type { UpstreamClient } from './upstream.ts';

/** One configuration of the pool, and the connections made for it. Replaced whole; requests under way keep theirs. */
export interface Configured {
  readonly pool: Pool;
  readonly origin: UpstreamClient;
  /** By `ns`. */
  readonly upstreams: ReadonlyMap<string, UpstreamClient>;
}

export interface HandlerDeps extends Pick<PoolEngineDeps, 'gate' | 'agent' | 'onRecord' | 'log'> {
  readonly configured: () => Configured;
  readonly blobs: BlobAnswerDeps;
  readonly manifests: ManifestAnswers;
  readonly agentConnections: Agent;
  readonly newId: () => string;
}

type Content = Extract<Target, Place>;

/** The engine's answer to one request. Never throws. */
export function createRequestHandler(
  deps: HandlerDeps,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const exchange = beginExchange(deps.newId(), request, response, deps.onRecord);
    request.on('error', () => {});
    handle(exchange).catch((error: unknown) => {
      deps.log.error({ err: error, requestId: exchange.id }, 'a request to the pool failed');
      if (response.headersSent || response.destroyed) response.destroy();
      else void refuse(request, response, 'UNKNOWN');
    });
  };

  async function handle(exchange: Exchange): Promise<void> {
    const { request, response } = exchange;
    const configured = deps.configured();
    const target = readTarget(configured.pool, request.url ?? '');
    exchange.about = aboutOf(target);
    response.setHeader(poolHeader, configured.pool.name);
    if (target.kind === 'agent') return forwardToAgent(exchange, deps.agentConnections, deps.agent);
    if (target.kind === 'unknown') return refuse(request, response, 'NAME_UNKNOWN');
    if (target.kind === 'pass') return forward(exchange, configured, target.path);

    const { method } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      // Other registries are fetched from, and no more.
      if (target.upstream !== undefined) return refuse(request, response, 'UNSUPPORTED');
      return forward(exchange, configured, request.url ?? '');
    }
    request.resume();
    const source = sourceOf(configured, target);
    if (source === undefined) return refuse(request, response, 'NAME_UNKNOWN');
    const { authorization } = request.headers;
    if (target.kind === 'blob' && method === 'HEAD' && target.upstream === undefined) {
      return passHead(exchange, configured, source, authorization ?? '');
    }
    const verdict = await decide(exchange, target);
    if (verdict.outcome !== 'allowed') {
      const unknown = target.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN';
      return refuseVerdict(request, response, verdict, unknown);
    }
    exchange.prewarm = verdict.prewarm;
    if (response.destroyed) return undefined;
    const repository =
      target.upstream === undefined ? target.repository : `${target.upstream.ns}/${target.repository}`;
    if (target.kind === 'tag') return deps.manifests.byTag(exchange, { source, repository }, target.tag);
    if (target.kind === 'manifest')
      return deps.manifests.byDigest(exchange, { source, repository }, target.digest);
    if (method === 'HEAD') return passHead(exchange, configured, source);
    return answerBlob(deps.blobs, exchange, target.digest, source);
  }

  function decide(exchange: Exchange, target: Content): Promise<Verdict> {
    const { authorization } = exchange.request.headers;
    return deps.gate.decide({
      ...(authorization === undefined ? {} : { authorization }),
      ...(target.upstream === undefined ? {} : { ns: target.upstream.ns }),
      repository: target.repository,
      reference: target.kind === 'tag' ? { tag: target.tag } : { digest: target.digest },
      kind: target.kind === 'blob' ? 'blob' : 'manifest',
      client: exchange.client,
    });
  }

  function forward(exchange: Exchange, { pool, origin }: Configured, path: string): Promise<void> {
    return forwardToOrigin(exchange, origin, path, { endpoint: pool.endpoint, origins: pool.origin.urls });
  }

  /** Whether a blob is in a repository only its registry knows. Without `authorization` it is asked as the pool. */
  async function passHead(
    exchange: Exchange,
    { pool }: Configured,
    { upstream, path, scope }: BlobSource,
    authorization?: string,
  ): Promise<void> {
    const { request, response } = exchange;
    const own = authorization === undefined ? {} : { authorization };
    try {
      const answer = await upstream.fetch({ method: 'HEAD', path, scope, ...own });
      answer.resume();
      const options = { endpoint: pool.endpoint, origins: pool.origin.urls };
      response
        .writeHead(answer.statusCode ?? 502, endToEnd(rewritten(answer.headers, request, options)))
        .end();
    } catch (error) {
      await refuseFetch(exchange, error);
    }
  }
}

function sourceOf({ origin, upstreams }: Configured, target: Content): BlobSource | undefined {
  const upstream = target.upstream === undefined ? origin : upstreams.get(target.upstream.ns);
  if (upstream === undefined) return undefined;
  const { repository } = target;
  const reference = target.kind === 'tag' ? target.tag : target.digest;
  return {
    name: `${target.upstream?.ns ?? ''}|${repository}`,
    upstream,
    path: `/v2/${repository}/${target.kind === 'blob' ? 'blobs' : 'manifests'}/${reference}`,
    scope: formatScope({ type: 'repository', name: repository, actions: ['pull'] }),
  };
}
