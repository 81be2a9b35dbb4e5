import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { type Authenticator, type Identity, InvalidCredentials } from '../../core/auth/authenticator.ts';
import { errorSchema } from '../../core/http/api-answers.ts';
import { discardBody } from '../../core/http/discard-body.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { ObjectStoreFull } from '../../core/object-store/object-store.ts';
import { Type } from '../../core/type.ts';
import { isTag } from '../../oci/reference.ts';
import type { BuildService } from '../farm/build-service.ts';
import type { RefUpdate } from '../git/git-host.ts';
import { refuseRepository } from '../git/git-path.ts';
import { type PackageName, packageEndings, parsePackageName } from '../package/package-name.ts';
import { PackageRefused, type PackageService } from '../package/package-service.ts';
import { PackageTooLarge } from '../package/spool-package.ts';
import { type BuildView, buildSchema, toView } from './build-routes.ts';

const placeSchema = Type.Object({
  team: Type.String({ maxLength: 100 }),
  app: Type.String({
    maxLength: 100,
    description: 'With `team`, the git repository that keeps the package’s files.',
  }),
});
const querySchema = Type.Object({
  name: Type.String({
    maxLength: 200,
    description: `The file’s name; its ending says what it is: ${packageEndings.join(', ')}.`,
  }),
  tag: Type.Optional(
    Type.String({
      maxLength: 128,
      description:
        'Tag of the image. Default: the version in the name (`shop-1.2.war`: `1.2`), else `latest`.',
    }),
  ),
  sha256: Type.Optional(
    Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Checksum of the body; another one is refused.' }),
  ),
  appfile: Type.Optional(
    Type.String({ minLength: 1, description: 'The text of an App.yaml, for a package that has none.' }),
  ),
  base: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: '^[^\\s\\p{Cc}]+$',
      description: 'Instead of `appfile`: the base image, `tomcat:10`.',
    }),
  ),
  command: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 2000,
      pattern: '^[^\\p{Cc}]+$',
      description: 'Instead of `appfile`: how the role `web` is started.',
    }),
  ),
  port: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65_535,
      description: 'Instead of `appfile`: where it listens for HTTP. Default 8080.',
    }),
  ),
});

type Place = Static<typeof placeSchema>;
type Query = Static<typeof querySchema>;

export interface PackageRoutesOptions {
  readonly packages: PackageService;
  readonly builds: Pick<BuildService, 'get'>;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin' | 'receive'>;
}

/** Bytes of a refused body that are read so that the sender sees the answer. */
const leastDiscarded = 32 * 1024 * 1024;

/** An answer that was decided before the body was read to its end. */
interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/** `/api/v1/packages/<team>/<app>`: release packages become images. Who may build in the repository sends them. */
export function createPackageRoutes(options: PackageRoutesOptions): FastifyPluginAsync {
  const { packages, builds, authenticator, http } = options;

  async function identify(request: FastifyRequest): Promise<Identity | Refusal> {
    try {
      return await authenticator.identify(request.headers.authorization, http.origin.address(request.raw));
    } catch (error) {
      if (!(error instanceof InvalidCredentials)) throw error;
      return unauthorized;
    }
  }

  /** The build, or why there is none. */
  async function take(
    request: FastifyRequest<{ Params: Place; Querystring: Query }>,
  ): Promise<BuildView | Refusal> {
    const { params, query } = request;
    const identity = await identify(request);
    if ('status' in identity) return identity;
    const { principal } = identity;
    const unfit = refuseRepository(params.team, params.app);
    if (unfit !== undefined) return { status: unfit.status, code: 'NAME_INVALID', message: unfit.refused };
    const repository = `${params.team}/${params.app}`;
    if (!identity.authorizer.may(principal, 'build', repository)) {
      if (principal.anonymous) return unauthorized;
      return { status: 403, code: 'DENIED', message: `${principal.name} may not build ${repository}` };
    }
    const name = checkQuery(query);
    if ('status' in name) return name;
    const { maxBytes } = packages.limits;
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
      return {
        status: 413,
        code: 'PACKAGE_TOO_LARGE',
        message: `the package is larger than ${maxBytes} bytes`,
      };
    }
    const { tag, sha256, appfile, base, command, port } = query;
    const update = await packages.accept({
      ...params,
      pusher: principal.name,
      ...hostOf(request.headers.host),
      name,
      ...(tag === undefined ? {} : { tag }),
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(appfile === undefined ? {} : { appfile }),
      hints: {
        ...(base === undefined ? {} : { base }),
        ...(command === undefined ? {} : { command }),
        ...(port === undefined ? {} : { port }),
      },
      body: http.receive(request.raw),
    });
    const build = await builds.get(update.id);
    return build === undefined ? soon(update) : toView(build);
  }

  return async (app: FastifyInstance) => {
    app.removeAllContentTypeParsers();
    // Any type, and nothing read: the stream goes to the spool.
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    app.post<{ Params: Place; Querystring: Query }>(
      '/api/v1/packages/:team/:app',
      {
        // The service's own limit, which is said in words, counts.
        bodyLimit: Number.MAX_SAFE_INTEGER,
        schema: {
          tags: ['packages'],
          summary: 'Makes an image of a release package',
          description:
            'The body is the package itself. Its files become a commit of the git repository, which is built as a push is. ' +
            'Needs the right `build` on the repository. The same files sent again while their build is not over get that build.',
          // For the document only: nothing is parsed, so nothing is checked.
          body: {
            content: {
              'application/octet-stream': { schema: Type.Any({ description: 'The package itself.' }) },
            },
          },
          params: placeSchema,
          querystring: querySchema,
          response: {
            202: buildSchema,
            400: errorSchema,
            401: errorSchema,
            403: errorSchema,
            413: errorSchema,
            422: errorSchema,
            507: errorSchema,
          },
        },
      },
      async (request, reply) => {
        const result = await take(request).catch((error: unknown) => {
          // Nobody is there any more to read it.
          if (request.raw.destroyed && !request.raw.complete) return cutShort;
          return toRefusal(error);
        });
        if (!('status' in result)) {
          return reply.status(202).header('Location', `/api/v1/builds/${result.id}`).send(result);
        }
        return refuse(request.raw, reply, result, packages.limits.maxBytes);
      },
    );
  };
}

const cutShort: Refusal = { status: 400, code: 'CUT_SHORT', message: 'the package did not arrive whole' };
const unauthorized: Refusal = { status: 401, code: 'UNAUTHORIZED', message: 'authentication required' };

function checkQuery(query: Query): PackageName | Refusal {
  const refused = (message: string): Refusal => ({ status: 400, code: 'PARAMETER_INVALID', message });
  if (query.tag !== undefined && !isTag(query.tag)) return refused(`"${query.tag}" is no tag`);
  return (
    parsePackageName(query.name) ??
    refused(`"name" must be a file name that ends with ${packageEndings.join(', ')}`)
  );
}

/** What the sender can mend, or should know; everything else is the server's own fault. */
function toRefusal(error: unknown): Refusal {
  const { message } = error as Error;
  if (error instanceof PackageTooLarge) return { status: 413, code: 'PACKAGE_TOO_LARGE', message };
  if (error instanceof PackageRefused) return { status: 422, code: 'PACKAGE_REFUSED', message };
  if (error instanceof ObjectStoreFull || (error as NodeJS.ErrnoException).code === 'ENOSPC') {
    return { status: 507, code: 'FULL', message: "the server's disk is full" };
  }
  throw error;
}

async function refuse(
  request: IncomingMessage,
  reply: FastifyReply,
  refusal: Refusal,
  most: number,
): Promise<FastifyReply> {
  const { status, code, message } = refusal;
  // Who is known may have sent all of it before reading why it was in vain.
  await (status === 401 ? discardBody(request) : discardBody(request, Math.max(most, leastDiscarded)));
  if (status === 401) void reply.header('WWW-Authenticate', 'Basic realm="brickyard", charset="UTF-8"');
  return reply.status(status).send({ error: { code, message } });
}

/** The queue did not answer just now: the build is announced again within a minute, under this id. */
function soon(update: RefUpdate): BuildView {
  return {
    id: update.id,
    state: 'queued',
    repository: `${update.team}/${update.app}`,
    ref: update.ref,
    commit: update.commit,
    pusher: update.pusher,
    createdAt: new Date().toISOString(),
    attempts: 0,
  };
}

function hostOf(header: string | undefined): { host?: string } {
  return header !== undefined && /^[\w.:[\]-]{1,255}$/.test(header) ? { host: header } : {};
}
