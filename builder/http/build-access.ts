import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import type { Authenticator, Identity } from '../../core/auth/authenticator.ts';
import type { Action } from '../../core/auth/authorizer.ts';
import { identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { Type } from '../../core/type.ts';
import { repositoryOf } from '../farm/build-request.ts';
import type { Build, BuildService } from '../farm/build-service.ts';

export const buildIdSchema = Type.Object({ id: Type.String({ pattern: '^[0-9a-f-]{36}$' }) });

export interface BuildAccessOptions {
  readonly builds: BuildService;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
}

/** Who may see and do what with builds. Both answer the request themselves when they give undefined. */
export interface BuildAccess {
  readonly identify: (request: FastifyRequest, reply: FastifyReply) => Promise<Identity | undefined>;
  /** The build of the path, when `action` is allowed on its git repository. */
  readonly find: (
    request: FastifyRequest<{ Params: Static<typeof buildIdSchema> }>,
    reply: FastifyReply,
    action: Action,
  ) => Promise<{ build: Build; identity: Identity } | undefined>;
}

export function createBuildAccess(options: BuildAccessOptions): BuildAccess {
  const { builds, authenticator } = options;
  const identify: BuildAccess['identify'] = (request, reply) => identifyCaller(options, request, reply);

  return {
    identify,
    async find(request, reply, action) {
      const identity = await identify(request, reply);
      if (identity === undefined) return undefined;
      const build = await builds.get(request.params.id);
      // Whether a build of a hidden repository exists is nobody's business.
      if (build === undefined || !sees(identity, build)) {
        if (identity.principal.anonymous && authenticator.required) void unauthorized(reply);
        else void problem(reply, 404, 'NOT_FOUND', 'there is no such build');
        return undefined;
      }
      if (!identity.authorizer.may(identity.principal, action, repositoryOf(build.request))) {
        if (identity.principal.anonymous) void unauthorized(reply);
        else
          void problem(
            reply,
            403,
            'DENIED',
            `${identity.principal.name} may not ${action} ${repositoryOf(build.request)}`,
          );
        return undefined;
      }
      return { build, identity };
    },
  };
}

export function sees(identity: Identity, build: Build): boolean {
  return identity.authorizer.may(identity.principal, 'pull', repositoryOf(build.request));
}
