import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator, Identity } from '../../core/auth/authenticator.ts';
import { errorSchema, identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import { discardBody } from '../../core/http/discard-body.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import type { Delivery } from '../triggers/delivery.ts';
import { type Provider, providers } from '../triggers/trigger.ts';
import type { TriggerService } from '../triggers/trigger-service.ts';

/** Of a webhook. Bytes; the largest that is taken. GitHub sends up to 25 MB, but pushes of a thousand commits need far less. */
const bodyLimit = 5 * 1024 * 1024;
/** Of all webhooks that are just arriving in this process. Bytes. */
const arrivingLimit = 64 * 1024 * 1024;
/** A webhook comes at once or not at all. Milliseconds. */
const arrivalMs = 30_000;

const outcomeSchema = Type.Object({
  ref: Type.String(),
  outcome: Type.Enum(['queued', 'moved', 'unchanged', 'deleted', 'skipped', 'missing', 'refused']),
  detail: Type.Optional(Type.String()),
  build: Type.Optional(Type.String({ description: 'Id of the build.' })),
});
const deliverySchema = Type.Object({
  id: Type.String({ description: 'Sorts by time.' }),
  state: Type.Enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded']),
  repository: Type.String({ description: 'The git repository here, `team/app`.' }),
  provider: Type.Enum([...providers]),
  url: Type.String({ description: 'Where this document can be asked for.' }),
  createdAt: Type.String({ format: 'date-time' }),
  finishedAt: Type.Optional(Type.String({ format: 'date-time' })),
  error: Type.Optional(Type.String()),
  duplicate: Type.Optional(Type.Boolean({ description: 'It was there before.' })),
  refs: Type.Array(outcomeSchema, { description: 'Known once it has succeeded.' }),
});
const ignoredSchema = Type.Object({ state: Type.Enum(['ignored']), message: Type.String() });
const idSchema = Type.Object({ id: Type.String({ pattern: '^[0-9a-f-]{36}$' }) });
const listSchema = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
  before: Type.Optional(Type.String({ pattern: '^[0-9a-f-]{36}$', description: 'Only older ones.' })),
});
const hookQuerySchema = Type.Object({
  app: Type.Optional(
    Type.String({
      maxLength: 255,
      description: '`team/app`, where several triggers have the same secret and repository.',
    }),
  ),
});

type DeliveryView = Static<typeof deliverySchema>;

export interface HookRoutesOptions {
  readonly triggers: TriggerService;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin' | 'receive'>;
}

/**
 * `/hooks/<provider>`: webhooks, which sign themselves instead of signing in; `/api/v1/deliveries…`: what became of them, for who
 * may pull from the repository.
 */
export function createHookRoutes(options: HookRoutesOptions): FastifyPluginAsync {
  const { triggers, authenticator, http } = options;
  const arriving = createArrivals();

  return async (app: FastifyInstance) => {
    await app.register(async (hooks: FastifyInstance) => {
      hooks.removeAllContentTypeParsers();
      // Any type, and nothing read: what is signed is the bytes as they come.
      hooks.addContentTypeParser('*', (_request, _payload, done) => done(null));
      for (const provider of providers) {
        hooks.post<{ Querystring: Static<typeof hookQuerySchema> }>(
          `/hooks/${provider}`,
          {
            bodyLimit: Number.MAX_SAFE_INTEGER,
            schema: {
              tags: ['triggers'],
              summary: 'A webhook of a repository elsewhere',
              description: 'Signed as its provider documents; `generic`: see docs/triggers.md.',
              querystring: hookQuerySchema,
              response: {
                200: Type.Union([deliverySchema, ignoredSchema]),
                202: deliverySchema,
                400: errorSchema,
                401: errorSchema,
                413: errorSchema,
                503: errorSchema,
              },
            },
          },
          async (request, reply) => {
            const body = await arriving.read(request.raw, http);
            if (typeof body === 'string') return refuseBody(request.raw, reply, body);
            const { headers, rawHeaders } = request.raw;
            const received = await triggers.receive(
              { provider, headers, rawHeaders, body },
              request.query.app,
            );
            if (received.kind === 'ignored') return { state: 'ignored' as const, message: received.message };
            if (received.kind === 'refused') {
              const code = received.status === 401 ? 'SIGNATURE_INVALID' : 'DELIVERY_INVALID';
              void problem(reply, received.status, code, received.message);
              return reply;
            }
            const view = toView(received.delivery, http.origin.publicOrigin(request.raw));
            if (received.duplicate) return { ...view, duplicate: true };
            return reply.status(202).header('Location', view.url).send(view);
          },
        );
      }
    });

    app.get<{ Querystring: Static<typeof listSchema> }>(
      '/api/v1/deliveries',
      {
        schema: {
          tags: ['triggers'],
          summary: 'Webhooks that were taken, newest first',
          querystring: listSchema,
          response: { 200: Type.Object({ deliveries: Type.Array(deliverySchema) }), 401: errorSchema },
        },
      },
      async (request, reply) => {
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        const origin = http.origin.publicOrigin(request.raw);
        const { limit = 50, before } = request.query;
        const found = await triggers.list({ limit, ...(before === undefined ? {} : { before }) });
        return {
          deliveries: found.filter((each) => sees(identity, each)).map((each) => toView(each, origin)),
        };
      },
    );

    app.get<{ Params: Static<typeof idSchema> }>(
      '/api/v1/deliveries/:id',
      {
        schema: {
          tags: ['triggers'],
          summary: 'What became of a webhook',
          params: idSchema,
          response: { 200: deliverySchema, 401: errorSchema, 404: errorSchema },
        },
      },
      async (request, reply) => {
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        const found = await triggers.get(request.params.id);
        if (found === undefined || !sees(identity, found)) {
          if (identity.principal.anonymous && authenticator.required) void unauthorized(reply);
          else void problem(reply, 404, 'NOT_FOUND', 'there is no such delivery');
          return reply;
        }
        return toView(found, http.origin.publicOrigin(request.raw));
      },
    );
  };
}

function sees(identity: Identity, { request: { team, app } }: Delivery): boolean {
  return identity.authorizer.may(identity.principal, 'pull', `${team}/${app}`);
}

function toView({ request, refs, ...delivery }: Delivery, origin: string): DeliveryView {
  const { team, app, provider } = request;
  return {
    ...delivery,
    repository: `${team}/${app}`,
    provider: provider satisfies Provider,
    url: `${origin}/api/v1/deliveries/${delivery.id}`,
    refs: [...refs],
  };
}

async function refuseBody(
  request: IncomingMessage,
  reply: FastifyReply,
  why: 'large' | 'full' | 'cut',
): Promise<FastifyReply> {
  // Who is too slow is not waited for any longer.
  if (why === 'cut') void reply.header('Connection', 'close');
  else await discardBody(request);
  if (why === 'large') void problem(reply, 413, 'TOO_LARGE', `a webhook may have ${bodyLimit} bytes`);
  else if (why === 'cut') void problem(reply, 400, 'CUT_SHORT', 'the webhook did not arrive whole');
  else {
    void reply.header('Retry-After', '5');
    void problem(reply, 503, 'BUSY', 'too many webhooks at once; send it again');
  }
  return reply;
}

/** Bodies that nobody has vouched for yet take so much memory together, however many there are and however slowly they come. */
function createArrivals() {
  let held = 0;
  return {
    async read(
      request: IncomingMessage,
      http: Pick<HttpServer, 'receive'>,
    ): Promise<Buffer | 'large' | 'full' | 'cut'> {
      if (Number(request.headers['content-length'] ?? 0) > bodyLimit) return 'large';
      const chunks: Buffer[] = [];
      let size = 0;
      const stream = http.receive(request);
      const timer = setTimeout(() => stream.destroy(new Error('too slow')), arrivalMs);
      try {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          size += chunk.length;
          held += chunk.length;
          if (size > bodyLimit) return 'large';
          if (held > arrivingLimit) return 'full';
          chunks.push(chunk);
        }
        return Buffer.concat(chunks, size);
      } catch {
        return 'cut';
      } finally {
        clearTimeout(timer);
        held -= size;
      }
    },
  };
}
