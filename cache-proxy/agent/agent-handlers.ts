import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PoolGate } from './create-gate.ts';
import type { AccessRequest, Verdict } from './gate.ts';
import { refuse, respondJson, unavailable } from './respond.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** What the agent's listener answers for clients (through the engine), and for nginx. None of them throws. */
export interface AgentHandlers {
  /** `/authz`, for nginx alone: 204, 401 with a challenge, 403, 404, or 503 with Retry-After; never a body. */
  readonly authz: Handler;
  /** `/v2/` */
  readonly ping: Handler;
  /** `/token` */
  readonly token: Handler;
}

export function createAgentHandlers(deps: {
  readonly gate: PoolGate;
  readonly token: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** Address of whoever asks, through the engine. */
  readonly addressOf: (request: IncomingMessage) => string | undefined;
}): AgentHandlers {
  const { gate, token, addressOf } = deps;
  return {
    authz(request, response) {
      void (async () => {
        const asked = readAccess(request, addressOf(request));
        const verdict: Verdict = asked === undefined ? { outcome: 'unknown' } : await gate.decide(asked);
        response.writeHead(statusOf[verdict.outcome], {
          ...headersOf(verdict),
          ...(verdict.outcome === 'allowed' && verdict.prewarm ? { 'X-Pool-Prewarm': '1' } : {}),
          ...(verdict.outcome === 'allowed' ? {} : { 'Content-Length': 0 }),
        });
        response.end();
      })();
    },
    ping(request, response) {
      void (async () => {
        const { authorization } = request.headers;
        const verdict = await gate.greet(authorization, addressOf(request));
        response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
        for (const [name, value] of Object.entries(headersOf(verdict))) response.setHeader(name, value);
        if (verdict.outcome === 'allowed') respondJson(response, 200, {});
        else if (verdict.outcome === 'unauthenticated') refuse(response, 'UNAUTHORIZED');
        else if (verdict.outcome === 'unavailable') unavailable(response, verdict.retryAfter);
        else refuse(response, 'DENIED');
      })();
    },
    token: (request, response) => void token(request, response),
  };
}

const statusOf = { allowed: 204, unauthenticated: 401, denied: 403, unknown: 404, unavailable: 503 } as const;

function headersOf(verdict: Verdict): Record<string, string> {
  if (verdict.outcome === 'unauthenticated') return { 'WWW-Authenticate': verdict.challenge };
  if (verdict.outcome === 'unavailable') return { 'Retry-After': String(Math.ceil(verdict.retryAfter)) };
  return {};
}

/** Undefined for what nginx never sends: then there is nothing that it could mean. */
function readAccess(request: IncomingMessage, client: string | undefined): AccessRequest | undefined {
  const { headers } = request;
  const field = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const repository = field('x-pool-repo');
  const digest = field('x-pool-digest');
  const tag = field('x-pool-ref');
  const kind = field('x-pool-kind');
  if (repository === undefined || (kind !== 'blob' && kind !== 'manifest')) return undefined;
  if ((digest === undefined) === (tag === undefined)) return undefined;
  const ns = field('x-pool-ns');
  const { authorization } = headers;
  return {
    repository,
    kind,
    reference: digest === undefined ? { tag: tag ?? '' } : { digest },
    ...(authorization === undefined ? {} : { authorization }),
    ...(ns === undefined ? {} : { ns }),
    ...(client === undefined ? {} : { client }),
  };
}
