import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import { errorSchema, identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import { CopyFault } from '../../oci/copy/copy-fault.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import { authorized } from '../decorators/authorized.ts';
import { type Promoter, PromotionRefused } from '../promote/promote.ts';

const nameSchema = Type.String({ minLength: 1, maxLength: 255 });
const requestSchema = Type.Object(
  {
    source: Type.Object(
      {
        repository: nameSchema,
        reference: Type.String({ minLength: 1, maxLength: 255, description: 'A tag or a digest.' }),
      },
      { additionalProperties: false },
    ),
    target: Type.Object(
      { repository: nameSchema, tag: Type.String({ minLength: 1, maxLength: 128 }) },
      { additionalProperties: false },
    ),
    replaces: Type.Optional(
      Type.Union([Type.String({ maxLength: 255 }), Type.Null()], {
        description: 'Only where the tag names this digest now; null: only where there is no such tag.',
      }),
    ),
    dryRun: Type.Optional(Type.Boolean({ description: 'Check everything and change nothing.' })),
  },
  { additionalProperties: false },
);
const buildSchema = Type.Object({
  build: Type.String(),
  ref: Type.String(),
  commit: Type.String(),
  tested: Type.Boolean({ description: 'Its `test:` commands ran, and succeeded.' }),
});
const promotionSchema = Type.Object({
  repository: Type.String(),
  tag: Type.String(),
  digest: Type.String(),
  previous: Type.Optional(
    Type.String({ description: 'What the tag named before; left out: there was no such tag.' }),
  ),
  changed: Type.Boolean({ description: 'False: the tag named it already.' }),
  builds: Type.Array(buildSchema, { description: 'Builds of this farm that made exactly this image.' }),
});
const querySchema = Type.Object({
  repository: nameSchema,
  tag: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  digest: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
});
const historySchema = Type.Object({
  promotions: Type.Array(
    Type.Object({
      repository: Type.String(),
      tag: Type.String(),
      digest: Type.String(),
      previous: Type.Optional(Type.String()),
      source: Type.String({ description: 'What was asked for.' }),
      by: Type.String(),
      at: Type.String({ format: 'date-time' }),
    }),
  ),
  builds: Type.Optional(
    Type.Array(buildSchema, { description: 'Asked by digest: builds of this farm that made it.' }),
  ),
});

/** What `POST /api/v1/promotions` answers. */
export type PromotionView = Static<typeof promotionSchema>;
/** What `GET /api/v1/promotions` answers. */
export type PromotionHistory = Static<typeof historySchema>;

export interface PromotionRoutesOptions {
  readonly promoter: Promoter;
  readonly registry: Registry;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
}

/** `/api/v1/promotions`: tags that move to tested images. Needs `pull` where the image is and `push` where the tag is. */
export function createPromotionRoutes(options: PromotionRoutesOptions): FastifyPluginAsync {
  const { promoter, registry } = options;

  return async (app: FastifyInstance) => {
    const tags = ['promotions'];
    const errors = {
      400: errorSchema,
      401: errorSchema,
      403: errorSchema,
      404: errorSchema,
      503: errorSchema,
    };
    app.post<{ Body: Static<typeof requestSchema> }>(
      '/api/v1/promotions',
      {
        schema: {
          tags,
          summary: 'Moves a tag to an image that is there',
          description:
            'Needs the right `pull` where the image is and `push` where the tag is, and what `registry.promotion` asks for. ' +
            'The manifest’s bytes stay as they are. 409: the tag was moved meanwhile, or is not where `replaces` says.',
          body: requestSchema,
          response: { 200: promotionSchema, 409: errorSchema, ...errors },
        },
      },
      async (request, reply) => {
        const { source, target, replaces, dryRun } = request.body;
        const fault =
          faultOf(source.repository, source.reference) ?? faultOf(target.repository, target.tag, 'tag');
        if (fault !== undefined) return problem(reply, 400, 'PARAMETER_INVALID', fault);
        if (typeof replaces === 'string' && !isDigest(replaces))
          return problem(reply, 400, 'PARAMETER_INVALID', '"replaces" is no digest');
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        const { principal, authorizer } = identity;
        if (!authorizer.may(principal, 'push', target.repository)) {
          if (principal.anonymous) return unauthorized(reply);
          return problem(reply, 403, 'DENIED', `${principal.name} may not push to ${target.repository}`);
        }
        try {
          const done = await promoter.promote(
            {
              source,
              target,
              by: principal.name,
              ...(replaces === undefined ? {} : { replaces: replaces as Digest | null }),
              ...(dryRun === undefined ? {} : { dryRun }),
            },
            authorized(registry, identity),
          );
          const { digest, previous, changed } = done;
          if (changed && dryRun !== true)
            request.log.info(
              { audit: 'promotion', by: principal.name, source, target, digest, previous },
              'promoted',
            );
          return { ...done, builds: [...done.builds] };
        } catch (error) {
          return refuse(reply, error);
        }
      },
    );

    app.get<{ Querystring: Static<typeof querySchema> }>(
      '/api/v1/promotions',
      {
        schema: {
          tags,
          summary: 'Promotions of a tag, or of an image with the builds that made it; newest first',
          querystring: querySchema,
          response: { 200: historySchema, ...errors },
        },
      },
      async (request, reply) => {
        const { repository, tag, digest } = request.query;
        const about = tag ?? digest;
        if (about === undefined || (tag !== undefined && digest !== undefined))
          return problem(reply, 400, 'PARAMETER_INVALID', 'name a tag or a digest');
        const fault = faultOf(repository, about, tag === undefined ? 'digest' : 'tag');
        if (fault !== undefined) return problem(reply, 400, 'PARAMETER_INVALID', fault);
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        const { principal, authorizer } = identity;
        if (!authorizer.may(principal, 'pull', repository)) {
          if (principal.anonymous) return unauthorized(reply);
          return problem(reply, 403, 'DENIED', `${principal.name} may not read ${repository}`);
        }
        if (tag !== undefined) return { promotions: [...(await promoter.history(repository, { tag }))] };
        const wanted = about as Digest;
        const [promotions, builds] = await Promise.all([
          promoter.history(repository, { digest: wanted }),
          promoter.evidenceOf(repository, wanted),
        ]);
        return { promotions: [...promotions], builds: [...builds] };
      },
    );
  };
}

function faultOf(repository: string, reference: string, kind?: 'tag' | 'digest'): string | undefined {
  if (!isRepositoryName(repository)) return `"${repository}" is no repository name`;
  const fits = (kind !== 'digest' && isTag(reference)) || (kind !== 'tag' && isDigest(reference));
  return fits ? undefined : `"${reference}" is no ${kind ?? 'tag or digest'}`;
}

function refuse(reply: FastifyReply, error: unknown): FastifyReply {
  if (error instanceof PromotionRefused) {
    return error.reason === 'moved'
      ? problem(reply, 409, 'MOVED', error.message)
      : problem(reply, 403, 'PROMOTION_REFUSED', error.message);
  }
  const cause = error instanceof CopyFault ? error.cause : error;
  if (isOciError(cause, 'MANIFEST_UNKNOWN') || isOciError(cause, 'NAME_UNKNOWN'))
    return problem(reply, 404, 'MANIFEST_UNKNOWN', 'there is no such image');
  if (isOciError(cause, 'UNAUTHORIZED')) return unauthorized(reply);
  if (isOciError(cause, 'DENIED')) return problem(reply, 403, 'DENIED', cause.message);
  if (!isOciError(cause, 'UNAVAILABLE')) throw error;
  void reply.header('Retry-After', '2');
  return problem(reply, 503, 'UNAVAILABLE', 'the store does not answer; try again');
}
