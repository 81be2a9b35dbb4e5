import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import { errorSchema, problem } from '../../core/http/api-answers.ts';
import { Type } from '../../core/type.ts';
import { type BuildAccessOptions, buildIdSchema, createBuildAccess } from './build-access.ts';

const tags = ['builds'];

/** `/api/v1/builds/:id/artifacts…`: what the tests of a build left. Who may see the build may read them. */
export function createArtifactRoutes(options: BuildAccessOptions): FastifyPluginAsync {
  const { artifacts } = options.builds;
  const { find } = createBuildAccess(options);

  return async (app: FastifyInstance) => {
    app.get<{ Params: { id: string } }>(
      '/api/v1/builds/:id/artifacts',
      {
        schema: {
          tags,
          summary: 'Files that the tests of a build left',
          params: buildIdSchema,
          response: {
            200: Type.Object({
              artifacts: Type.Array(
                Type.Object({
                  path: Type.String({ description: 'In the workspace of the build.' }),
                  size: Type.Integer({ description: 'Bytes.' }),
                }),
              ),
            }),
            401: errorSchema,
            404: errorSchema,
          },
        },
      },
      async (request, reply) => {
        const found = await find(request, reply, 'pull');
        return found === undefined ? reply : { artifacts: [...(await artifacts.list(found.build.id))] };
      },
    );

    app.get<{ Params: { id: string; '*': string } }>(
      '/api/v1/builds/:id/artifacts/*',
      {
        schema: {
          tags,
          summary: 'One of these files',
          produces: ['application/octet-stream'],
          params: Type.Object({ ...buildIdSchema.properties, '*': Type.String({ maxLength: 4096 }) }),
        },
      },
      async (request, reply) => {
        const found = await find(request, reply, 'pull');
        if (found === undefined) return reply;
        const content = await artifacts.get(found.build.id, request.params['*']);
        if (content === undefined) {
          void problem(reply, 404, 'NOT_FOUND', 'the build left no such file');
          return reply;
        }
        return (
          reply
            // Made by a build: no browser may take it for a page of this server.
            .header('Content-Type', 'application/octet-stream')
            .header('Content-Disposition', 'attachment')
            .header('X-Content-Type-Options', 'nosniff')
            .header('Cache-Control', 'no-store')
            .send(content)
        );
      },
    );
  };
}
