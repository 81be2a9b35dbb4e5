import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { AttemptDetail } from '../../builder/farm/build-detail.ts';
import { buildPhases } from '../../builder/farm/build-phases.ts';
import { repositoryOf } from '../../builder/farm/build-request.ts';
import type { Build, BuildService } from '../../builder/farm/build-service.ts';
import { type BuildPage, renderBuild } from '../../console/build-page.ts';
import type { Authenticator } from '../../core/auth/authenticator.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { formatBytes, shortRef } from '../text.ts';
import { identifyVisitor } from './visitor.ts';

export interface BuildPageDeps {
  readonly http: Pick<HttpServer, 'origin'>;
  readonly authenticator: Authenticator;
  readonly builds: Pick<BuildService, 'get' | 'details'>;
}

/** `/builds/<id>`: one build, for who may pull from its repository. */
export function registerBuildPage(app: FastifyInstance, deps: BuildPageDeps): void {
  const { http, builds } = deps;
  app.get<{ Params: { id: string } }>('/builds/:id', { schema: { hide: true } }, async (request, reply) => {
    const identity = await identifyVisitor(deps, request, reply);
    if (identity === undefined) return reply;
    const { principal, authorizer } = identity;
    const build = await builds.get(request.params.id);
    // Whether a build of a hidden repository exists is nobody's business.
    if (build === undefined || !authorizer.may(principal, 'pull', repositoryOf(build.request))) {
      return reply.code(404).type('text/plain').send('there is no such build\n');
    }
    const nonce = randomBytes(16).toString('base64');
    return reply
      .type('text/html')
      .header('cache-control', 'no-store')
      .header('content-security-policy', policy(nonce))
      .header('referrer-policy', 'same-origin')
      .header('x-content-type-options', 'nosniff')
      .send(
        renderBuild({
          ...describe(build, await builds.details.list(build.id)),
          host: new URL(http.origin.publicOrigin(request.raw)).host,
          mayBuild: authorizer.may(principal, 'build', repositoryOf(build.request)),
          nonce,
        }),
      );
  });
}

/** A build's text is all over this page: even if some of it became markup, nothing of it would run or be fetched. */
function policy(nonce: string): string {
  return `default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

function describe(
  build: Build,
  attempts: readonly AttemptDetail[],
): Pick<BuildPage, 'id' | 'state' | 'error' | 'facts' | 'phases' | 'apps'> {
  const { request, result } = build;
  const last = attempts.at(-1);
  const facts: [string, string | undefined][] = [
    ['Repository', repositoryOf(request)],
    ['Ref', shortRef(request.ref)],
    ['Commit', request.commit],
    ['By', request.pusher],
    ['Package', request.package?.name],
    ['Queued', build.createdAt],
    ['Started', build.startedAt],
    ['Finished', build.finishedAt],
    ['Attempts', build.attempts > 1 ? `${build.attempts}` : undefined],
    ['Worker', build.worker],
    ['Image', typeof result?.['reference'] === 'string' ? result['reference'] : undefined],
    ['Digest', typeof result?.['digest'] === 'string' ? result['digest'] : undefined],
    ['Base', last?.apps[0]?.inputs.base],
    ['Layers', last?.apps[0]?.layers === undefined ? undefined : layersOf(last.apps[0].layers)],
  ];
  return {
    id: build.id,
    state: build.state,
    ...(build.error === undefined ? {} : { error: build.error }),
    facts: facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
    phases: buildPhases.map((phase) => [phase, last?.phases[phase] ?? 0] as const),
    apps: (last?.apps ?? []).map(({ repository, plan, dockerfile }) => ({
      title: repository,
      plan,
      dockerfile,
    })),
  };
}

function layersOf(layers: NonNullable<AttemptDetail['apps'][number]['layers']>): string {
  const { mountedBytes, skippedBytes, storedBytes } = layers;
  return `${formatBytes(mountedBytes)} mounted, ${formatBytes(skippedBytes)} skipped, ${formatBytes(storedBytes)} stored`;
}
