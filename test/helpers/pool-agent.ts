import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AccessRequest, Gate, Verdict } from '../../cache-proxy/agent/gate.ts';

export interface TestPoolAgent extends AsyncDisposable {
  /** `host:port` of its loopback listener. */
  readonly address: string;
  readonly gate: Gate;
  /** What the gate was asked. */
  readonly asked: AccessRequest[];
  /** Decides; by default by the Authorization header alone: see `byHeader`. */
  rule: (request: AccessRequest) => Verdict;
  close(): Promise<void>;
}

export const testChallenge = 'Bearer realm="http://pool.test/token",service="pool"';

/** A gate whose verdicts a test chooses, and a listener for what engines pass to the agent. */
export async function startPoolAgent(): Promise<TestPoolAgent> {
  const asked: AccessRequest[] = [];
  const gate: Gate = {
    async decide(request) {
      asked.push(request);
      return agent.rule(request);
    },
  };
  const server = createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  const agent: TestPoolAgent = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    gate,
    asked,
    rule: byHeader,
    close,
    [Symbol.asyncDispose]: close,
  };
  return agent;
}

/** `Bearer alice` may have everything, `Bearer prewarm` is the pool itself, nobody is asked for a token, and so on by the name. */
export function byHeader({ authorization }: AccessRequest): Verdict {
  switch (authorization) {
    case undefined:
      return { outcome: 'unauthenticated', challenge: testChallenge };
    case 'Bearer alice':
      return { outcome: 'allowed', prewarm: false };
    case 'Bearer prewarm':
      return { outcome: 'allowed', prewarm: true };
    case 'Bearer stranger':
      return { outcome: 'unknown' };
    case 'Bearer early':
      return { outcome: 'unavailable', retryAfter: 7 };
    default:
      return { outcome: 'denied' };
  }
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { authorization } = request.headers;
  const path = request.url?.split('?', 1)[0];
  if (path === '/v2/') {
    if (authorization === undefined) response.setHeader('www-authenticate', testChallenge);
    response.writeHead(authorization === undefined ? 401 : 200).end();
  } else if (path === '/token') {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"alice"}');
  } else response.writeHead(404).end();
}
