import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import { errorSchema } from '../../core/http/api-answers.ts';
import { Type } from '../../core/type.ts';
import type { AttemptDetail } from '../farm/build-detail.ts';
import { buildPhases } from '../farm/build-phases.ts';
import type { BuildService } from '../farm/build-service.ts';
import { type BuildAccess, buildIdSchema } from './build-access.ts';

const bytes = Type.Integer({ description: 'Bytes.' });
const appSchema = Type.Object({
  directory: Type.String({ description: 'Of its App.yaml; empty for the top.' }),
  repository: Type.String({ description: 'Image repository.' }),
  plan: Type.String({ description: 'In words.' }),
  dockerfile: Type.String({ description: 'What would make the same image.' }),
  inputs: Type.Object({
    commit: Type.String(),
    tree: Type.String({ description: 'Names its files: of a commit the git tree.' }),
    base: Type.String(),
    buildBase: Type.Optional(Type.String()),
    testBase: Type.Optional(Type.String()),
    buildKey: Type.String({ description: 'Equal keys give equal images.' }),
    engine: Type.String(),
  }),
  digest: Type.Optional(Type.String()),
  unchanged: Type.Optional(
    Type.String({ description: 'The build that made the image, where its files had not changed.' }),
  ),
  layers: Type.Optional(
    Type.Object({
      mountedBytes: bytes,
      mountedLayers: Type.Integer(),
      skippedBytes: bytes,
      skippedLayers: Type.Integer(),
      storedBytes: bytes,
      storedLayers: Type.Integer(),
    }),
  ),
});
const attemptSchema = Type.Object({
  fence: Type.Integer({ description: 'Rises with each attempt.' }),
  worker: Type.Optional(Type.String()),
  startedAt: Type.String({ format: 'date-time' }),
  endedAt: Type.String({ format: 'date-time' }),
  outcome: Type.Enum(['succeeded', 'failed', 'stopped', 'fault'], {
    description: '`fault`: the farm’s own, so it is tried again; `stopped`: cancelled, or handed back.',
  }),
  reason: Type.Optional(Type.String()),
  phases: Type.Object(
    Object.fromEntries(buildPhases.map((phase) => [phase, Type.Optional(Type.Integer())])),
    { description: 'Milliseconds.' },
  ),
  caches: Type.Object(
    { hit: Type.Integer(), partial: Type.Integer(), miss: Type.Integer() },
    { description: 'Dependency caches that were looked for; partial: that of other lockfiles was there.' },
  ),
  logBytes: bytes,
  apps: Type.Array(appSchema),
});
const recordSchema = Type.Object({
  attempts: Type.Array(attemptSchema, {
    description: 'Those that came to an end; one whose worker was killed left nothing.',
  }),
});

/** What a build was made of, as the management API shows it. */
export type BuildRecordView = Static<typeof recordSchema>;

/** `/api/v1/builds/<id>/record`: plan, Dockerfile, inputs and timings of each attempt. Who may pull from the repository may read it. */
export function createRecordRoutes(options: {
  readonly builds: Pick<BuildService, 'details'>;
  readonly find: BuildAccess['find'];
}): FastifyPluginAsync {
  return async (app: FastifyInstance) => {
    app.get<{ Params: Static<typeof buildIdSchema> }>(
      '/api/v1/builds/:id/record',
      {
        schema: {
          tags: ['builds'],
          summary: 'What a build was made of, and where its time went',
          params: buildIdSchema,
          response: { 200: recordSchema, 401: errorSchema, 404: errorSchema },
        },
      },
      async (request, reply) => {
        const found = await options.find(request, reply, 'pull');
        if (found === undefined) return reply;
        const attempts: readonly AttemptDetail[] = await options.builds.details.list(found.build.id);
        return { attempts };
      },
    );
  };
}
