import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import type { Action } from '../../core/auth/authorizer.ts';
import { errorSchema, identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import { UserError } from '../../core/user-error.ts';
import { catalogTeam } from '../catalog/catalog.ts';
import type { Propagation } from '../propagate/propagation.ts';
import {
  planSchema,
  toDetailView,
  toPlanView,
  toWaveView,
  waveDetailSchema,
  waveSchema,
} from './base-image-views.ts';

const failures = { 400: errorSchema, 401: errorSchema, 403: errorSchema, 404: errorSchema, 409: errorSchema };
const channelSchema = Type.Optional(
  Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$', description: 'Default: every channel.' }),
);
const nameSchema = Type.Object({
  name: Type.String({
    pattern: '^[a-z0-9]+(?:[._-][a-z0-9]+)*$',
    maxLength: 60,
    description: 'Of the base image, without `baseimages/`.',
  }),
});
const idSchema = Type.String({ pattern: '^[0-9a-f-]{36}$' });
const waveParameters = Type.Object({ ...nameSchema.properties, id: idSchema });
const planQuery = Type.Object({ channel: channelSchema });
const listQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 20 })),
});
const rebaseBody = Type.Object(
  {
    channel: channelSchema,
    canary: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 1000, description: 'So many apps first; default as configured.' }),
    ),
    canaryWait: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 86_400, description: 'Seconds until the others follow.' }),
    ),
    apps: Type.Optional(
      Type.Array(Type.String({ maxLength: 255 }), {
        minItems: 1,
        maxItems: 1000,
        description: 'Only these image repositories, also where they are excluded. Default: all.',
      }),
    ),
  },
  { additionalProperties: false },
);
const undoBody = Type.Object(
  {
    channel: channelSchema,
    wave: Type.Optional(idSchema),
    moveChannel: Type.Optional(
      Type.Boolean({
        description: 'The channel goes back as well. Default: new builds go on with what it names.',
      }),
    ),
  },
  { additionalProperties: false },
);
const wavesSchema = Type.Object({ waves: Type.Array(waveSchema) });

type Named<Q = unknown, B = unknown> = { Params: Static<typeof nameSchema>; Querystring: Q; Body: B };

export interface BaseImageRoutesOptions {
  readonly propagation: Propagation;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
}

/**
 * `/api/v1/base-images/{name}/…`: what a change of a base image touches, and bringing it there. Who may pull the base image sees that, as far as he may
 * pull the apps; who may `build` in `baseimages/{name}` moves apps to it and undoes that, in whatever repositories they are.
 */
export function createBaseImageRoutes(options: BaseImageRoutesOptions): FastifyPluginAsync {
  const { propagation } = options;

  /** Answers by itself, and gives undefined, where the right is missing. */
  async function allowed(
    request: FastifyRequest<{ Params: Static<typeof nameSchema> }>,
    reply: FastifyReply,
    action: Action,
  ): Promise<{ name: string; by: string; sees: (repository: string) => boolean } | undefined> {
    const identity = await identifyCaller(options, request, reply);
    if (identity === undefined) return undefined;
    const { principal, authorizer } = identity;
    const { name } = request.params;
    const repository = `${catalogTeam}/${name}`;
    if (!authorizer.may(principal, action, repository)) {
      if (principal.anonymous) void unauthorized(reply);
      else void problem(reply, 403, 'DENIED', `${principal.name} may not ${action} ${repository}`);
      return undefined;
    }
    return { name, by: principal.name, sees: (app) => authorizer.may(principal, 'pull', app) };
  }

  /** What the person can mend is told as it is. */
  async function answer<T>(reply: FastifyReply, status: number, work: () => Promise<T>): Promise<unknown> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      void problem(reply, status, status === 404 ? 'NOT_FOUND' : 'CONFLICT', error.message);
      return reply;
    }
  }

  return async (app: FastifyInstance) => {
    const tags = ['base images'];
    app.get<Named<Static<typeof planQuery>>>(
      '/api/v1/base-images/:name/plan',
      {
        schema: {
          tags,
          summary: 'What a change of the base image touches, and how; changes nothing',
          params: nameSchema,
          querystring: planQuery,
          response: { 200: planSchema, ...failures },
        },
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'pull');
        if (caller === undefined) return reply;
        return answer(reply, 404, async () =>
          toPlanView(await propagation.plan(caller.name, request.query.channel), caller.sees),
        );
      },
    );

    app.post<Named<unknown, Static<typeof rebaseBody>>>(
      '/api/v1/base-images/:name/rebase',
      {
        schema: {
          tags,
          summary: 'Brings the apps onto what the channels name now',
          description:
            'Answers at once with a wave for each channel that apps are behind of; none: nothing is to do.',
          params: nameSchema,
          body: rebaseBody,
          response: { 202: wavesSchema, ...failures },
        },
        preValidation: refuseUnknown(rebaseBody),
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'build');
        if (caller === undefined) return reply;
        return answer(reply, 404, async () => {
          const waves = await propagation.start({ ...request.body, name: caller.name, by: caller.by });
          void reply.status(202);
          return { waves: waves.map(toWaveView) };
        });
      },
    );

    app.post<Named>(
      '/api/v1/base-images/:name/changed',
      {
        schema: {
          tags,
          summary: 'Says that the base image was made anew',
          description:
            'Needs the right `push` there. With `builder.propagation.mode: auto` the waves that are due start at once.',
          params: nameSchema,
          response: { 202: wavesSchema, ...failures },
        },
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'push');
        if (caller === undefined) return reply;
        const waves = await propagation.changed(caller.name, caller.by);
        void reply.status(202);
        return { waves: waves.map(toWaveView) };
      },
    );

    app.get<Named<Static<typeof listQuery>>>(
      '/api/v1/base-images/:name/waves',
      {
        schema: {
          tags,
          summary: 'Waves of rebases, newest first',
          params: nameSchema,
          querystring: listQuery,
          response: { 200: wavesSchema, ...failures },
        },
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'pull');
        if (caller === undefined) return reply;
        const { limit = 20 } = request.query;
        return { waves: (await propagation.waves(caller.name, { limit })).map(toWaveView) };
      },
    );

    app.get<{ Params: Static<typeof waveParameters> }>(
      '/api/v1/base-images/:name/waves/:id',
      {
        schema: {
          tags,
          summary: 'One wave, with what came of each image so far',
          params: waveParameters,
          response: { 200: waveDetailSchema, ...failures },
        },
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'pull');
        if (caller === undefined) return reply;
        const found = await propagation.wave(caller.name, request.params.id);
        if (found !== undefined) return toDetailView(found, caller.sees);
        void problem(reply, 404, 'NOT_FOUND', 'there is no such wave');
        return reply;
      },
    );

    app.post<Named<unknown, Static<typeof undoBody>>>(
      '/api/v1/base-images/:name/undo',
      {
        schema: {
          tags,
          summary: 'Gives tags back what a wave took from them',
          description:
            'Default: the waves that were started last and are not undone. Tags that moved on since are left alone.',
          params: nameSchema,
          body: undoBody,
          response: { 202: wavesSchema, ...failures },
        },
        preValidation: refuseUnknown(undoBody),
      },
      async (request, reply) => {
        const caller = await allowed(request, reply, 'build');
        if (caller === undefined) return reply;
        return answer(reply, 409, async () => {
          const waves = await propagation.undo({ ...request.body, name: caller.name, by: caller.by });
          void reply.status(202);
          return { waves: waves.map(toWaveView) };
        });
      },
    );
  };
}

/** Fastify drops what a schema does not know: `app` for `apps` would start a wave over all of them. */
function refuseUnknown(schema: { readonly properties: object }) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const names = typeof request.body === 'object' && request.body !== null ? Object.keys(request.body) : [];
    const unknown = names.find((name) => !Object.hasOwn(schema.properties, name));
    if (unknown === undefined) return undefined;
    const known = Object.keys(schema.properties).join(', ');
    void problem(reply, 400, 'INVALID', `"${unknown.slice(0, 100)}" is not known here; known are ${known}`);
    return reply;
  };
}
