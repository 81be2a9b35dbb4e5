import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import { errorSchema, problem } from '../../core/http/api-answers.ts';
import { Type } from '../../core/type.ts';
import { repositoryOf } from '../farm/build-request.ts';
import type { Build } from '../farm/build-service.ts';
import { buildStates } from '../farm/build-states.ts';
import { type BuildAccessOptions, buildIdSchema, createBuildAccess, sees } from './build-access.ts';
import { createLogRoutes } from './log-routes.ts';
import { createRecordRoutes } from './record-routes.ts';

const imageSchema = Type.Object({
  reference: Type.String(),
  repository: Type.String(),
  digest: Type.String(),
  tags: Type.Array(Type.String()),
  directory: Type.Optional(Type.String({ description: 'Of its App.yaml; left out for the top.' })),
  unchanged: Type.Optional(
    Type.Boolean({ description: 'Its files were those of an earlier build: the image is that one’s.' }),
  ),
  mountedBytes: Type.Integer(),
  skippedBytes: Type.Integer(),
  storedBytes: Type.Integer(),
});
/** A build, as every route shows it. */
export const buildSchema = Type.Object({
  id: Type.String({ description: 'Sorts by time.' }),
  state: Type.Enum([...buildStates]),
  repository: Type.String({ description: 'The git repository, `team/app`.' }),
  ref: Type.String(),
  commit: Type.String(),
  pusher: Type.String(),
  package: Type.Optional(
    Type.Object(
      { name: Type.String(), sha256: Type.String() },
      { description: 'The release package that the commit was made of.' },
    ),
  ),
  createdAt: Type.String({ format: 'date-time' }),
  startedAt: Type.Optional(Type.String({ format: 'date-time' })),
  finishedAt: Type.Optional(Type.String({ format: 'date-time' })),
  attempts: Type.Integer({ description: 'How often a worker took it up.' }),
  worker: Type.Optional(Type.String({ description: 'Which one has it, or had it last.' })),
  lane: Type.Optional(Type.String({ description: 'Which kind of builds it waits among.' })),
  error: Type.Optional(Type.String({ description: 'Why it failed or was cancelled.' })),
  image: Type.Optional(imageSchema),
  images: Type.Optional(
    Type.Array(imageSchema, { description: 'All of them, where the repository holds several applications.' }),
  ),
});
const listSchema = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 50 })),
  before: Type.Optional(
    Type.String({ pattern: '^[0-9a-f-]{36}$', description: 'Only builds older than this one.' }),
  ),
  repository: Type.Optional(Type.String({ maxLength: 255, description: 'Only of this git repository.' })),
  team: Type.Optional(Type.String({ maxLength: 255, description: 'Only of this team’s repositories.' })),
  ref: Type.Optional(
    Type.String({ maxLength: 1024, description: 'Only of this branch or tag: `main`, `refs/heads/main`.' }),
  ),
  state: Type.Optional(Type.Enum([...buildStates], { description: 'Only in this state.' })),
});
/** A build as the management API shows it. */
export type BuildView = Static<typeof buildSchema>;

const tags = ['builds'];
/** Pages that are read in search of builds one may see, before a list is given as it is. */
const mostPages = 20;

/** `/api/v1/builds…`. Who may pull from a repository sees its builds; who may build there cancels and retries them. */
export function createBuildRoutes(options: BuildAccessOptions): FastifyPluginAsync {
  const { builds } = options;
  const { identify, find } = createBuildAccess(options);

  return async (app: FastifyInstance) => {
    app.get<{ Querystring: Static<typeof listSchema> }>(
      '/api/v1/builds',
      {
        schema: {
          tags,
          summary: 'Builds, newest first',
          querystring: listSchema,
          response: { 200: Type.Object({ builds: Type.Array(buildSchema) }), 401: errorSchema },
        },
      },
      async (request, reply) => {
        const identity = await identify(request, reply);
        if (identity === undefined) return reply;
        const { limit = 50 } = request.query;
        const found: BuildView[] = [];
        let { before } = request.query;
        for (let page = 0; page < mostPages && found.length < limit; page++) {
          const some = await builds.list({ limit: 200, ...(before === undefined ? {} : { before }) });
          for (const build of some) {
            if (isAskedFor(build, request.query) && sees(identity, build) && found.length < limit)
              found.push(toView(build));
          }
          before = some.at(-1)?.id;
          if (some.length < 200) break;
        }
        return { builds: found };
      },
    );

    app.get<{ Params: Static<typeof buildIdSchema> }>(
      '/api/v1/builds/:id',
      {
        schema: {
          tags,
          summary: 'One build',
          params: buildIdSchema,
          response: { 200: buildSchema, 401: errorSchema, 404: errorSchema },
        },
      },
      async (request, reply) => {
        const found = await find(request, reply, 'pull');
        return found === undefined ? reply : toView(found.build);
      },
    );

    await app.register(createLogRoutes({ builds, find }));
    await app.register(createRecordRoutes({ builds, find }));

    for (const [name, summary] of [
      ['cancel', 'Ends a build that waits or runs'],
      ['retry', 'Builds the same commit once more'],
    ] as const) {
      app.post<{ Params: Static<typeof buildIdSchema> }>(
        `/api/v1/builds/:id/${name}`,
        {
          schema: {
            tags,
            summary,
            params: buildIdSchema,
            response: { 200: buildSchema, 401: errorSchema, 403: errorSchema, 404: errorSchema },
          },
        },
        async (request, reply) => {
          // A browser sends a visitor's password along with a request that another site's page makes.
          if (request.headers['sec-fetch-site'] === 'cross-site') {
            void problem(reply, 403, 'DENIED', 'a page of another site may not do this');
            return reply;
          }
          const found = await find(request, reply, 'build');
          if (found === undefined) return reply;
          const { build, identity } = found;
          const changed =
            name === 'cancel'
              ? await builds.cancel(build.id, identity.principal.name)
              : await builds.retry(build.id);
          return toView(changed ?? build);
        },
      );
    }
  };
}

function isAskedFor(
  { request, state }: Build,
  asked: Pick<Static<typeof listSchema>, 'repository' | 'team' | 'ref' | 'state'>,
): boolean {
  const refs = [asked.ref, `refs/heads/${asked.ref}`, `refs/tags/${asked.ref}`];
  return (
    (asked.repository === undefined || repositoryOf(request) === asked.repository) &&
    (asked.team === undefined || request.team === asked.team) &&
    (asked.ref === undefined || refs.includes(request.ref)) &&
    (asked.state === undefined || state === asked.state)
  );
}

/** What people and programs see of a build. */
export function toView(build: Build): BuildView {
  const { request, result } = build;
  return {
    id: build.id,
    state: build.state,
    repository: repositoryOf(request),
    ref: request.ref,
    commit: request.commit,
    pusher: request.pusher,
    ...(request.package === undefined
      ? {}
      : { package: { name: request.package.name, sha256: request.package.sha256 } }),
    createdAt: build.createdAt,
    attempts: build.attempts,
    ...(build.worker === undefined ? {} : { worker: build.worker }),
    ...(build.lane === undefined ? {} : { lane: build.lane }),
    ...(build.startedAt === undefined ? {} : { startedAt: build.startedAt }),
    ...(build.finishedAt === undefined ? {} : { finishedAt: build.finishedAt }),
    ...(build.error === undefined ? {} : { error: build.error }),
    ...(result === undefined ? {} : { image: result as unknown as BuildView['image'] & object }),
    ...(result?.['images'] === undefined
      ? {}
      : { images: result['images'] as unknown as BuildView['images'] & object }),
  };
}
