import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import { errorSchema, identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import { maxSecretBytes, refuseOwner, secretNamePattern } from '../secrets/secret-names.ts';
import { type SecretInfo, SecretRefused, type SecretStore } from '../secrets/secret-store.ts';

const ownerSchema = Type.Object({
  team: Type.String({ maxLength: 100 }),
  app: Type.String({ maxLength: 100, description: 'With `team`, the git repository.' }),
});
const placeSchema = Type.Object({
  ...ownerSchema.properties,
  name: Type.String({ pattern: secretNamePattern, description: 'As `build.secrets` of App.yaml names it.' }),
});
const bodySchema = Type.Object(
  {
    value: Type.String({
      maxLength: Math.ceil((maxSecretBytes * 4) / 3) + 4,
      pattern: '^[A-Za-z0-9+/]*={0,2}$',
      description: `Base64 of the value, which has 8 to ${maxSecretBytes} bytes.`,
    }),
  },
  { additionalProperties: false },
);
const secretSchema = Type.Object({
  name: Type.String(),
  setAt: Type.String({ format: 'date-time' }),
  setBy: Type.String(),
  key: Type.Enum(['current', 'old', 'missing'], {
    description:
      '`old`: encrypted with a key that is not the first; `missing`: with one that the server does not have, so set it again.',
  }),
});

type Owner = Static<typeof ownerSchema>;
type Place = Static<typeof placeSchema>;

/** A secret as the management API shows it: never its value. */
export type SecretView = Static<typeof secretSchema>;

export interface SecretRoutesOptions {
  readonly secrets: SecretStore;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
}

/**
 * `/api/v1/secrets/<team>/<app>…`: names of secrets, and new values. Who may build in the git repository sets and removes them, as who writes its commands
 * could read them anyway; the API itself gives no value out.
 */
export function createSecretRoutes(options: SecretRoutesOptions): FastifyPluginAsync {
  const { secrets } = options;

  /** Answers the request itself when it gives undefined. */
  async function enter(
    request: FastifyRequest<{ Params: Owner }>,
    reply: FastifyReply,
  ): Promise<{ owner: string; by: string } | undefined> {
    const { team, app } = request.params;
    const identity = await identifyCaller(options, request, reply);
    if (identity === undefined) return undefined;
    const unfit = refuseOwner(team, app);
    const owner = `${team}/${app}`;
    const { principal, authorizer } = identity;
    if (unfit !== undefined) void problem(reply, 400, 'NAME_INVALID', unfit);
    else if (authorizer.may(principal, 'build', owner)) return { owner, by: principal.name };
    else if (principal.anonymous) void unauthorized(reply);
    else void problem(reply, 403, 'DENIED', `${principal.name} may not build ${owner}`);
    return undefined;
  }

  return async (app: FastifyInstance) => {
    const tags = ['secrets'];
    const failures = { 400: errorSchema, 401: errorSchema, 403: errorSchema };
    // Whatever is said about a secret, nobody in between keeps it.
    app.addHook('onRequest', async (_request, reply) => void reply.header('Cache-Control', 'no-store'));

    app.get<{ Params: Owner }>(
      '/api/v1/secrets/:team/:app',
      {
        schema: {
          tags,
          summary: 'Names of the secrets of an application',
          params: ownerSchema,
          response: { 200: Type.Object({ secrets: Type.Array(secretSchema) }), ...failures },
        },
      },
      async (request, reply) => {
        const found = await enter(request, reply);
        if (found === undefined) return reply;
        return { secrets: (await secrets.list(found.owner)).map(toView) };
      },
    );

    app.put<{ Params: Place; Body: Static<typeof bodySchema> }>(
      '/api/v1/secrets/:team/:app/:name',
      {
        schema: {
          tags,
          summary: 'Sets a secret, in place of the one before',
          params: placeSchema,
          body: bodySchema,
          response: { 200: secretSchema, 422: errorSchema, ...failures },
        },
        // A body that does not fit is told of without its content.
        attachValidation: true,
      },
      async (request, reply) => {
        const found = await enter(request, reply);
        if (found === undefined) return reply;
        if (request.validationError !== undefined) {
          void problem(reply, 400, 'PARAMETER_INVALID', 'expected a name and {"value": "<base64>"}');
          return reply;
        }
        const value = Buffer.from(request.body.value, 'base64');
        try {
          return toView(await secrets.set(found.owner, request.params.name, value, found.by));
        } catch (error) {
          if (!(error instanceof SecretRefused)) throw error;
          void problem(reply, 422, 'SECRET_REFUSED', error.message);
          return reply;
        }
      },
    );

    app.delete<{ Params: Place }>(
      '/api/v1/secrets/:team/:app/:name',
      {
        schema: {
          tags,
          summary: 'Removes a secret',
          params: placeSchema,
          response: { 200: Type.Object({ removed: Type.String() }), 404: errorSchema, ...failures },
        },
      },
      async (request, reply) => {
        const found = await enter(request, reply);
        if (found === undefined) return reply;
        const { name } = request.params;
        if (await secrets.remove(found.owner, name)) return { removed: name };
        void problem(reply, 404, 'NOT_FOUND', `${found.owner} has no secret "${name}"`);
        return reply;
      },
    );
  };
}

function toView({ name, setAt, setBy, key }: SecretInfo): SecretView {
  return { name, setAt: setAt.toISOString(), setBy, key };
}
