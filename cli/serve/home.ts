import type { FastifyInstance } from 'fastify';
import type { BuildService } from '../../builder/farm/build-service.ts';
import { type BuildRow, renderHome } from '../../console/page.ts';
import type { Authenticator, Identity } from '../../core/auth/authenticator.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import type { Registry } from '../../oci/registry.ts';
import { shortRef } from '../text.ts';
import { registerBuildPage } from './build-page.ts';
import { identifyVisitor } from './visitor.ts';

const shownRepositories = 60;
const shownBuilds = 15;

export interface HomeDeps {
  readonly http: Pick<HttpServer, 'origin'>;
  readonly authenticator: Authenticator;
  readonly registryFor: (identity: Identity) => Registry;
  /** Undefined where this process does not build. */
  readonly builds: BuildService | undefined;
}

/** `/` and `/builds/<id>`: the console, with what the visitor may see. */
export function registerHome(app: FastifyInstance, deps: HomeDeps): void {
  const { http, authenticator, registryFor, builds } = deps;
  if (builds !== undefined) registerBuildPage(app, { http, authenticator, builds });
  app.get('/', { schema: { hide: true } }, async (request, reply) => {
    const url = http.origin.publicOrigin(request.raw);
    const identity = await identifyVisitor(deps, request, reply);
    if (identity === undefined) return reply;
    const { principal, authorizer } = identity;
    const repositories = await registryFor(identity).listRepositories({ limit: shownRepositories });
    const seen = ((await builds?.list({ limit: 100 })) ?? []).filter(({ request: { team, app: name } }) =>
      authorizer.may(principal, 'pull', `${team}/${name}`),
    );
    return reply.type('text/html').send(
      renderHome({
        host: new URL(url).host,
        url,
        ...(principal.anonymous ? {} : { signedInAs: principal.name }),
        repositories: repositories.entries,
        moreRepositories: repositories.next !== undefined,
        builds: seen.slice(0, shownBuilds).map(
          (build): BuildRow => ({
            id: build.id,
            repository: `${build.request.team}/${build.request.app}`,
            ref: shortRef(build.request.ref),
            state: build.state,
            createdAt: build.createdAt,
            ...(build.error === undefined ? {} : { outcome: build.error.split('\n')[0] ?? '' }),
          }),
        ),
      }),
    );
  });
}
