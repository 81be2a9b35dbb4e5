import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import { hasErrors } from '../../core/document/document.ts';
import { formatFaults } from '../../core/document/format-faults.ts';
import { errorSchema, identifyCaller, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import { missingBaseFault } from '../appfile/missing-base.ts';
import { type AppFileParser, maxAppFileBytes } from '../appfile/parse-appfile.ts';

const querySchema = Type.Object({
  file: Type.Optional(
    Type.String({ maxLength: 1024, description: 'As places name the file. Default `App.yaml`.' }),
  ),
});
const resultSchema = Type.Object({
  file: Type.String(),
  faults: Type.Array(
    Type.Object({
      code: Type.String(),
      severity: Type.Enum(['error', 'warning', 'info']),
      line: Type.Integer({ description: 'From 1.' }),
      column: Type.Integer({ description: 'From 1, in UTF-16 units.' }),
      length: Type.Integer(),
      path: Type.String({ description: 'Of the value, `entrypoints.web.ports[0]`.' }),
      message: Type.String(),
      hint: Type.Optional(Type.String()),
    }),
  ),
});

export interface LintRoutesOptions {
  readonly parseAppFile: AppFileParser;
  /** A file without a base image is no fault where the server has one for such files. */
  readonly defaultBase?: string | undefined;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
}

/**
 * `POST /api/v1/lint`: what is wrong with an App.yaml, for hooks that have nothing but curl. The body is the file; `Accept: text/plain` gives
 * the faults as `brickyard lint` prints them. 422 = it has errors.
 */
export function createLintRoutes(options: LintRoutesOptions): FastifyPluginAsync {
  const { parseAppFile, defaultBase, authenticator } = options;
  return async (app: FastifyInstance) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    app.post<{ Querystring: Static<typeof querySchema>; Body: Buffer | undefined }>(
      '/api/v1/lint',
      {
        // One byte more is read: the parser says by its own rules that it is too large.
        bodyLimit: maxAppFileBytes * 2,
        schema: {
          tags: ['lint'],
          summary: 'Checks an App.yaml',
          description: 'Scripts and files that it names are not looked at. Anybody who may sign in may ask.',
          body: {
            content: { 'application/octet-stream': { schema: Type.Any({ description: 'The file.' }) } },
          },
          querystring: querySchema,
          response: { 200: resultSchema, 422: resultSchema, 401: errorSchema, 413: errorSchema },
        },
      },
      async (request, reply) => {
        const identity = await identifyCaller(options, request, reply);
        if (identity === undefined) return reply;
        if (identity.principal.anonymous && authenticator.required) return unauthorized(reply);
        const { file = 'App.yaml' } = request.query;
        const result = parseAppFile(file, request.body ?? Buffer.alloc(0), { defaultAppName: 'app' });
        const base = defaultBase === undefined ? missingBaseFault(result, []) : undefined;
        const faults = [...result.faults, ...(base === undefined ? [] : [base])];
        void reply.status(hasErrors(faults) ? 422 : 200).header('Cache-Control', 'no-store');
        if (request.headers.accept !== 'text/plain') return { file, faults };
        void reply.header('X-Content-Type-Options', 'nosniff').type('text/plain; charset=utf-8');
        // The schema is that of JSON.
        return reply.serializer((text: string) => text).send(formatFaults(faults, result.document));
      },
    );
  };
}
