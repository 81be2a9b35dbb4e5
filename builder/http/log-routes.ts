import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { problem } from '../../core/http/api-answers.ts';
import { Type } from '../../core/type.ts';
import type { BuildService } from '../farm/build-service.ts';
import { parseLogPosition } from '../farm/log-chunks.ts';
import { type BuildAccess, buildIdSchema } from './build-access.ts';
import { logEvents } from './log-stream.ts';

const logSchema = Type.Object({
  follow: Type.Optional(Type.Enum(['0', '1'], { description: '1 = stay until the build has ended.' })),
});
const streamSchema = Type.Object({
  after: Type.Optional(
    Type.String({
      pattern: '^\\d{1,6}-\\d{1,12}$',
      description: 'The id of the last event that was read; the header Last-Event-ID says the same.',
    }),
  ),
});

interface LogRequest {
  Params: Static<typeof buildIdSchema>;
  Querystring: Static<typeof logSchema> & Static<typeof streamSchema>;
}

const tags = ['builds'];

/** `/api/v1/builds/<id>/log`: as text, and as events that can be taken up where they broke off. Who may pull from the repository may read. */
export function createLogRoutes(options: {
  readonly builds: Pick<BuildService, 'get' | 'log'>;
  readonly find: BuildAccess['find'];
}): FastifyPluginAsync {
  const { builds, find } = options;

  return async (app: FastifyInstance) => {
    const closing = new AbortController();
    // A server that stops must not wait for builds: those who follow them come back to another one.
    app.addHook('preClose', (done) => {
      closing.abort();
      done();
    });

    function send(
      reply: FastifyReply,
      type: string,
      lines: (signal: AbortSignal) => AsyncIterable<string>,
    ): FastifyReply {
      const left = new AbortController();
      reply.raw.once('close', () => left.abort());
      return (
        reply
          .header('Content-Type', type)
          .header('Cache-Control', 'no-store')
          .header('X-Accel-Buffering', 'no')
          // A browser that is sent here must not take a log for a page.
          .header('X-Content-Type-Options', 'nosniff')
          .send(
            Readable.from(lines(AbortSignal.any([left.signal, closing.signal])), {
              objectMode: false,
              highWaterMark: 16_384,
            }),
          )
      );
    }

    async function stream(request: FastifyRequest<LogRequest>, reply: FastifyReply): Promise<FastifyReply> {
      const found = await find(request, reply, 'pull');
      if (found === undefined) return reply;
      const header = request.headers['last-event-id'];
      const asked = typeof header === 'string' && header !== '' ? header : request.query.after;
      const after = asked === undefined ? undefined : parseLogPosition(asked);
      if (asked !== undefined && after === undefined) {
        void problem(reply, 400, 'BAD_REQUEST', 'Last-Event-ID is not the id of an event of this log');
        return reply;
      }
      const { id } = found.build;
      return send(reply, 'text/event-stream; charset=utf-8', (signal) =>
        logEvents({ builds, id, signal, ...(after === undefined ? {} : { after }) }),
      );
    }

    app.get<LogRequest>(
      '/api/v1/builds/:id/log',
      {
        schema: {
          tags,
          summary: 'Log of a build, as text; with `Accept: text/event-stream` as events',
          produces: ['text/plain', 'text/event-stream'],
          params: buildIdSchema,
          querystring: Type.Object({ ...logSchema.properties, ...streamSchema.properties }),
        },
      },
      async (request, reply) => {
        if (request.headers.accept?.includes('text/event-stream') === true) return stream(request, reply);
        const found = await find(request, reply, 'pull');
        if (found === undefined) return reply;
        const follower = builds.log(found.build.id);
        const follow = request.query.follow === '1';
        return send(reply, 'text/plain; charset=utf-8', (signal) =>
          withLineEnds(follow ? follower.lines(signal) : follower.stored(signal)),
        );
      },
    );

    app.get<LogRequest>(
      '/api/v1/builds/:id/log/stream',
      {
        schema: {
          tags,
          summary: 'Log of a build as server-sent events, as long as it grows; the last one is `end`',
          produces: ['text/event-stream'],
          params: buildIdSchema,
          querystring: streamSchema,
        },
      },
      stream,
    );
  };
}

async function* withLineEnds(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}
