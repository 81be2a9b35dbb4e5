import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import { errorSchema, identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { ObjectStoreUnavailable } from '../../core/object-store/object-store.ts';
import { Type } from '../../core/type.ts';
import { isOciError } from '../../oci/errors.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { StoreContext } from '../store/context.ts';
import { deleteRepository } from '../store/delete-repository.ts';

const deletedSchema = Type.Object({
  done: Type.Boolean({
    description: 'False: there was more than one request may take the time for; repeat it until true.',
  }),
  manifests: Type.Integer({ description: 'Manifests that this request deleted.' }),
});
const nameSchema = Type.Object({
  '*': Type.String({ maxLength: 1024, description: 'The repository’s name, with its slashes.' }),
});

/** What one request to delete a repository has done. */
export type DeletedRepository = Static<typeof deletedSchema>;

export interface RepositoryRoutesOptions {
  readonly context: StoreContext;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
  /** True: it may hold tags that take tested images only, so that deleting it needs the right `admin`. Default never. */
  readonly protects?: (repository: string) => boolean;
  /** Told of each repository that was deleted, or begun to be. Must not throw. */
  readonly onDeleted?: (repository: string) => void;
  /** Milliseconds that one request may take; default 20 seconds, less than what balancers wait for. */
  readonly timeMs?: number;
}

/** `/api/v1/repositories/<name>`: whole repositories, which the distribution API knows nothing of. */
export function createRepositoryRoutes(options: RepositoryRoutesOptions): FastifyPluginAsync {
  const { context, protects = () => false, timeMs = 20_000 } = options;
  return async (app: FastifyInstance) => {
    app.delete<{ Params: Static<typeof nameSchema> }>(
      '/api/v1/repositories/*',
      {
        schema: {
          tags: ['repositories'],
          summary: 'Deletes a repository with all of its images',
          description:
            'Needs the right `delete` on the repository, or `admin` where a rule of `registry.promotion` is about it. Bytes are freed by the next garbage collection. ' +
            'Pushes that run meanwhile are deleted, refused or begin the repository anew; none is left half.',
          params: nameSchema,
          response: {
            200: deletedSchema,
            400: errorSchema,
            401: errorSchema,
            403: errorSchema,
            404: errorSchema,
            503: errorSchema,
          },
        },
      },
      async (request, reply) => {
        const repository = request.params['*'];
        if (!isRepositoryName(repository))
          return problem(reply, 400, 'NAME_INVALID', 'that is no repository name');
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        const { principal, authorizer } = identity;
        // Before anything is looked up: the answer tells nothing of what is there.
        if (!authorizer.may(principal, 'delete', repository)) {
          if (principal.anonymous) return unauthorized(reply);
          return problem(reply, 403, 'DENIED', `${principal.name} may not delete ${repository}`);
        }
        if (protects(repository) && !authorizer.may(principal, 'admin', repository)) {
          const message = `${repository} has tags of registry.promotion: deleting it needs the right admin`;
          return problem(reply, 403, 'DENIED', message);
        }
        try {
          const deleted = await deleteRepository(context, repository, { until: context.clock() + timeMs });
          options.onDeleted?.(repository);
          return deleted;
        } catch (error) {
          if (isOciError(error, 'NAME_UNKNOWN'))
            return problem(reply, 404, 'NAME_UNKNOWN', 'there is no such repository');
          if (!(error instanceof ObjectStoreUnavailable)) throw error;
          request.log.error({ err: error }, 'a repository could not be deleted');
          void reply.header('Retry-After', '2');
          return problem(reply, 503, 'UNAVAILABLE', 'the store does not answer; try again');
        }
      },
    );
  };
}
