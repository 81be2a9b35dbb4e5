import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createHttpServer, type HttpServer, type RawHandler } from '../../core/http/http-server.ts';
import type { Logger } from '../../core/log.ts';
import type { Metrics } from '../../core/metrics.ts';
import { Type } from '../../core/type.ts';
import { UserError } from '../../core/user-error.ts';
import type { Freed } from '../pool-engine.ts';
import type { AgentHandlers } from './agent-handlers.ts';
import type { HealthSnapshot } from './health.ts';
import type { PoolTotals } from './pool-metrics.ts';
import type { ScrubStatus } from './scrub.ts';

/** What `/healthz` says, in JSON. 200 while the engine serves; the origin may be away meanwhile. */
export interface PoolHealth {
  readonly pool: string;
  readonly engine: { readonly kind: string; readonly state: 'up' | 'down'; readonly url: string };
  readonly origin: HealthSnapshot;
  readonly cache: Freed & { readonly maxSize: number };
  /** What prewarming says of itself. */
  readonly prewarm?: unknown;
}

/** What `GET /_pool/status` says. */
export interface PoolStatus extends PoolHealth {
  readonly totals: PoolTotals;
  readonly scrub?: ScrubStatus;
  /** Whether the origin tells of pushes and deletes by itself. */
  readonly events: boolean;
}

export interface AgentServerDeps {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Those of the configuration that is in force. */
  readonly handlers: () => AgentHandlers;
  /** `Authorization: Bearer <key>` of `/_pool/…`. */
  readonly key: string;
  readonly health: () => Promise<PoolHealth>;
  readonly status: () => Promise<PoolStatus>;
  /** Errors: UserError for a reference that is none. */
  readonly purge: (reference: string) => Promise<Freed>;
  /** Checks a blob that somebody had wrong bytes of. */
  readonly report: (digest: string) => void;
  /** `/_pool/warm`; undefined: this pool does not prewarm (yet). */
  readonly warm: () => RawHandler | undefined;
}

/**
 * The agent's listener. What lets clients pull is answered only to this machine, whatever the listener's address: the engine asks, and nobody else.
 * Metrics and health are for everybody who reaches it; commands need the key. Binds to nothing by itself.
 */
export function createAgentServer(deps: AgentServerDeps): HttpServer {
  const { log, metrics, handlers, key, health, status, purge, report, warm } = deps;
  const http = createHttpServer({ log, metrics });
  const { app } = http;
  const wanted = digestOfKey(`Bearer ${key}`);
  const mayCommand = ({ headers: { authorization = '' } }: IncomingMessage): boolean =>
    timingSafeEqual(digestOfKey(authorization), wanted);

  const onMachine = (route: string, exact: boolean, handle: RawHandler): void =>
    http.direct(route, (request, response) => {
      http.observe(request, response, route);
      const path = request.url?.split('?', 1)[0];
      if (!isLoopbackPeer(request) || (exact && path !== route)) answer(response, 404, 'not found');
      else handle(request, response);
    });
  onMachine('/v2/', true, (...each) => handlers().ping(...each));
  onMachine('/token', true, (...each) => handlers().token(...each));
  // Before the listener's own route of this name, which only says that the process runs.
  http.direct('/healthz', (request, response) => {
    http.observe(request, response, '/healthz');
    void health().then(
      (found) => sendJson(response, found.engine.state === 'up' ? 200 : 503, found),
      (error: unknown) => {
        log.warn({ err: error }, 'the health of the pool could not be told');
        answer(response, 503, 'the health of the pool could not be told');
      },
    );
  });
  http.direct('/_pool/warm', (request, response) => {
    http.observe(request, response, '/_pool/warm');
    const handle = warm();
    if (!mayCommand(request)) answer(response, 401, keyNeeded);
    else if (handle === undefined) answer(response, 503, 'the pool does not prewarm yet');
    else handle(request, response);
  });

  void app.register((commands, _options, done) => {
    commands.addHook('onRequest', async (request, reply) => {
      if (!mayCommand(request.raw)) await reply.code(401).send({ error: { message: keyNeeded } });
    });
    commands.get('/_pool/status', () => status());
    commands.post<{ Body: { reference: string } }>(
      '/_pool/purge',
      { schema: { body: Type.Object({ reference: Type.String({ maxLength: 600 }) }) } },
      async (request, reply) => {
        try {
          return await purge(request.body.reference);
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          return reply.code(400).send({ error: { message: error.message } });
        }
      },
    );
    commands.post<{ Body: { digest: string } }>(
      '/_pool/check',
      { schema: { body: Type.Object({ digest: Type.String({ maxLength: 200 }) }) } },
      async (request, reply) => {
        report(request.body.digest);
        return reply.code(202).send({});
      },
    );
    done();
  });
  return http;
}

const keyNeeded = 'the key of the agent is needed: the file agent-key in the folder of the pool';

/** Of equal length whatever the header is, so that comparing takes as long. */
function digestOfKey(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function isLoopbackPeer({ socket: { remoteAddress = '' } }: IncomingMessage): boolean {
  return remoteAddress === '::1' || /^(?:::ffff:)?127\./.test(remoteAddress);
}

function answer(response: ServerResponse, status: number, message: string): void {
  sendJson(response, status, { error: { message } });
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}
