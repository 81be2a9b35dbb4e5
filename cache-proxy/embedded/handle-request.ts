import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Transport } from '../../oci/client/transport.ts';
import type { Verdict } from '../agent/gate.ts';
import type { PoolLinks } from '../fetch/pool-links.ts';
import type { PoolEngineDeps } from '../pool-engine.ts';
import { poolHeader } from '../pools/pool-header.ts';
import { refuse, refuseVerdict } from './answer.ts';
import { answerBlob, askSize, type BlobAnswerDeps, refuseFetch } from './blob-answer.ts';
import type { Source } from './blob-fetch.ts';
import { aboutOf, beginExchange, type Exchange } from './exchange.ts';
import type { ManifestAnswers } from './manifest-answer.ts';
import { passToAgent, passToOrigin } from './pass.ts';
import { type Place, readTarget, type Target } from './read-target.ts';

export interface HandlerDeps extends Pick<PoolEngineDeps, 'gate' | 'agent' | 'onRecord' | 'log'> {
  /** Of the configuration in force; requests under way keep theirs. */
  readonly links: () => PoolLinks;
  readonly blobs: BlobAnswerDeps;
  readonly manifests: ManifestAnswers;
  /** To the agent. */
  readonly transport: Transport;
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
    const links = deps.links();
    const { pool } = links;
    const target = readTarget(pool, request.url ?? '');
    exchange.about = aboutOf(target);
    response.setHeader(poolHeader, pool.name);
    if (target.kind === 'agent') {
      return passToAgent(exchange, { transport: deps.transport, address: deps.agent, pool });
    }
    if (target.kind === 'unknown') return refuse(request, response, 'NAME_UNKNOWN');
    if (target.kind === 'pass') return passToOrigin(exchange, links.of(undefined).link, pool);

    const { method } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      // Other registries are fetched from, and no more.
      if (target.upstream !== undefined) return refuse(request, response, 'UNSUPPORTED');
      return passToOrigin(exchange, links.of(undefined).link, pool);
    }
    request.resume();
    const source = sourceOf(links, target);
    // Whether a blob is in a repository only its registry knows: pushes ask so, and must not be told of what only the cache has.
    if (target.kind === 'blob' && method === 'HEAD' && target.upstream === undefined) {
      return passToOrigin(exchange, source.link, pool);
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
    if (method === 'HEAD') return answerHead(exchange, source, target.digest);
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

  /** Whether a blob of another registry is there: asked as the pool, which alone has an account there. */
  async function answerHead(exchange: Exchange, source: Source, digest: string): Promise<void> {
    try {
      const size = await askSize(source, digest);
      exchange.response
        .writeHead(200, {
          'content-type': 'application/octet-stream',
          'content-length': size,
          'docker-content-digest': digest,
        })
        .end();
    } catch (error) {
      await refuseFetch(exchange, error);
    }
  }
}

function sourceOf(links: PoolLinks, { upstream, repository }: Content): Source {
  const { link, parents } = links.of(upstream?.ns);
  return { name: `${upstream?.ns ?? ''}|${repository}`, link, parents, repository };
}
