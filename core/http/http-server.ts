import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerOptions, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Readable } from 'node:stream';
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import { createBodyCollection } from '../body-collection.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { bodyStream } from './body-stream.ts';
import { type ClientOrigin, type ClientOriginOptions, createClientOrigin } from './client-origin.ts';
import { createIdleGuard, type IdleGuard } from './idle-guard.ts';
import { createServer } from './node-http.ts';

export interface HttpServerOptions extends ClientOriginOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** One line at `info` for each request. Default false: lines cost more than most requests. */
  readonly accessLog?: boolean;
  /** Milliseconds without a byte, in the middle of a body, after which a connection is ended. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds that a client may take to send a request's head. Default 20,000. */
  readonly headersTimeoutMs?: number;
  /** /readyz: undefined = ready, else what is missing, in words for the operator. Default: always ready. */
  readonly notReady?: () => Promise<string | undefined> | string | undefined;
}

/** What every service that answers HTTP is handed. */
export interface HttpServer {
  /** Rooms register their plugins here; who composes listens and closes. */
  readonly app: FastifyInstance;
  /**
   * Hands everything whose path begins with `prefix` to `handle`, before Fastify makes its own objects for it: for requests that are
   * many and small, or long and raw. `handle` must not throw, and `observe` what it answers. Only on a real listener: register a
   * route as well, for `app.inject`.
   */
  direct(prefix: string, handle: RawHandler): void;
  readonly origin: ClientOrigin;
  readonly idle: IdleGuard;
  /** The body of `request`, however long: bounded in memory, and given up when nothing arrives for the idle time-out. */
  receive(request: IncomingMessage): Readable;
  /**
   * Counts (and, where switched on, logs) a request that a plugin answers by itself on `reply.raw` after `reply.hijack()`.
   * All others are counted already.
   */
  observe(request: IncomingMessage, response: ServerResponse, route: string): void;
}

export type RawHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** The listener shared by registry, git, management API and console. Binds to nothing by itself. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { log, metrics, accessLog = false } = options;
  const headersTimeout = options.headersTimeoutMs ?? 20_000;
  const listener: ServerOptions = {
    // A request may take hours; what must not last is silence, and IdleGuard sees to that.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    headersTimeout,
    connectionsCheckingInterval: Math.max(50, Math.min(headersTimeout / 2, 10_000)),
    // A bearer token that names many repositories does not fit into the default of 16 KiB.
    maxHeaderSize: 32 * 1024,
    noDelay: true,
  };
  const directs: { prefix: string; handle: RawHandler }[] = [];
  const app = fastify({
    serverFactory(handleByFastify) {
      return createServer(listener, (request, response) => {
        const direct = directs.find(({ prefix }) => request.url?.startsWith(prefix) === true);
        if (direct === undefined) handleByFastify(request, response);
        else direct.handle(request, response);
      });
    },
    // Its own lines (where it listens) are the composer's to say.
    loggerInstance: log.child(
      {},
      { level: log.isLevelEnabled('warn') ? 'warn' : log.level },
    ) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: 1024 * 1024,
    // The routes' schemas are made by functions that make no wrong ones: to look at them costs more than to compile them.
    ajv: { customOptions: { validateSchema: false } },
    // 404 instead of a redirect or a guess: paths are compared exactly.
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: false },
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    genReqId: createRequestIds(),
    clientErrorHandler(error, socket) {
      log.debug({ code: (error as NodeJS.ErrnoException).code }, 'unreadable request');
      if (!socket.writable || (error as NodeJS.ErrnoException).code === 'ECONNRESET') socket.destroy();
      else {
        const status = clientErrors.get((error as NodeJS.ErrnoException).code ?? '') ?? '400 Bad Request';
        socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      }
    },
  });
  const origin = createClientOrigin(options);
  const idle = createIdleGuard(options.idleTimeoutMs ?? 60_000);
  const arrived = createBodyCollection();
  const finished = (
    request: IncomingMessage,
    status: number,
    route: string,
    { started, bytes }: { started: number; bytes?: number },
  ): void => {
    const seconds = (performance.now() - started) / 1000;
    metrics.observeRequest(request.method ?? '', route, status, seconds);
    if (!accessLog) return;
    const path = request.url?.split('?', 1)[0];
    const client = origin.address(request);
    log.info({ method: request.method, path, status, bytes, seconds, client }, 'request');
  };

  app.addHook('onResponse', (request, reply, done) => {
    finished(request.raw, reply.statusCode, request.routeOptions.url ?? 'unknown', {
      started: performance.now() - reply.elapsedTime,
    });
    done();
  });
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: { message: 'not found' } }));
  app.get('/healthz', (_request, reply) => reply.type('text/plain').send('ok\n'));
  app.get('/readyz', async (_request, reply) => {
    const missing = await options.notReady?.();
    reply.type('text/plain').code(missing === undefined ? 200 : 503);
    return missing === undefined ? 'ok\n' : `${missing}\n`;
  });
  app.get('/metrics', async (_request, reply) => {
    reply.type(metrics.contentType);
    return metrics.render();
  });

  return {
    app,
    origin,
    idle,
    receive(request) {
      idle.watchBody(request);
      return bodyStream(request, arrived);
    },
    direct(prefix, handle) {
      directs.push({ prefix, handle });
    },
    observe(request, response, route) {
      const started = performance.now();
      if (!accessLog) {
        response.once('close', () => finished(request, response.statusCode, route, { started }));
        return;
      }
      const { socket } = request;
      const sentBefore = socket.bytesWritten;
      response.once('close', () => {
        // What went out on the connection, headers included: a client may have left long before Content-Length.
        const bytes = socket.bytesWritten - sentBefore;
        finished(request, response.statusCode, route, { started, bytes });
      });
    },
  };
}

/** For an error's body and its log line: short, unlike another process's, and cheap, as most are never seen. */
export function createRequestIds(): () => string {
  const prefix = randomBytes(5).toString('hex');
  let count = 0;
  return () => `${prefix}-${(count++).toString(36)}`;
}

const clientErrors = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
]);

const mistakes = new Map([
  [413, 'TOO_LARGE'],
  [415, 'TYPE_UNKNOWN'],
]);

/** A client learns of its own mistakes; of ours, only under which id the log tells more. */
function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 500;
  if (status < 500) {
    // The routes' schemas of such answers want a code.
    const code =
      error.validation === undefined ? (mistakes.get(status) ?? 'BAD_REQUEST') : 'PARAMETER_INVALID';
    return reply.code(status).send({ error: { code, message: error.message } });
  }
  request.log.error({ err: error, requestId: request.id }, 'request failed');
  return reply.code(status).send({ error: { message: 'an internal error occurred', requestId: request.id } });
}
