import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PoolGate } from './create-gate.ts';
import type { Verdict } from './gate.ts';
import { refuse, respondJson, unavailable } from './respond.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** What the agent's listener answers for clients, through the engine. None of them throws. */
export interface AgentHandlers {
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

function headersOf(verdict: Verdict): Record<string, string> {
  if (verdict.outcome === 'unauthenticated') return { 'WWW-Authenticate': verdict.challenge };
  if (verdict.outcome === 'unavailable') return { 'Retry-After': String(Math.ceil(verdict.retryAfter)) };
  return {};
}
