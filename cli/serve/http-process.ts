import { setTimeout as delay } from 'node:timers/promises';
import { createAppFileParser } from '../../builder/appfile/parse-appfile.ts';
import { createImageRecords } from '../../builder/farm/image-records.ts';
import { createArtifactRoutes } from '../../builder/http/artifact-routes.ts';
import { createBaseImageRoutes } from '../../builder/http/base-image-routes.ts';
import { createBuildRoutes } from '../../builder/http/build-routes.ts';
import { createGitRoutes } from '../../builder/http/git-routes.ts';
import { createHookRoutes } from '../../builder/http/hook-routes.ts';
import { createLintRoutes } from '../../builder/http/lint-routes.ts';
import { createPackageRoutes } from '../../builder/http/package-routes.ts';
import { createSecretRoutes } from '../../builder/http/secret-routes.ts';
import { type Builder, createBuilder } from '../../builder/main.ts';
import {
  createOriginEventRoutes,
  type OriginEvent,
  originTopic,
} from '../../cache-proxy/controller/events.ts';
import { createLeaseRoutes } from '../../cache-proxy/controller/leases.ts';
import { createIsPool } from '../../cache-proxy/controller/pool-caller.ts';
import { createPopularityRoutes } from '../../cache-proxy/controller/popularity.ts';
import { createVoidTokenRoutes } from '../../cache-proxy/controller/void-tokens.ts';
import type { Identity } from '../../core/auth/authenticator.ts';
import type { EventBus } from '../../core/events.ts';
import { createHttpServer } from '../../core/http/http-server.ts';
import { createMetrics } from '../../core/metrics.ts';
import { UserError } from '../../core/user-error.ts';
import type { Registry } from '../../oci/registry.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { authorized } from '../../registry/decorators/authorized.ts';
import { limitedUploads } from '../../registry/decorators/limited-uploads.ts';
import { promotedTags } from '../../registry/decorators/promoted-tags.ts';
import { createPromotionRoutes } from '../../registry/http/promotion-routes.ts';
import { registryRoutes } from '../../registry/http/registry-routes.ts';
import { createRepositoryRoutes } from '../../registry/http/repository-routes.ts';
import { createPromoter } from '../../registry/promote/promote.ts';
import { createStoreContext } from '../../registry/store/create-context.ts';
import { countUploads } from '../../registry/store/upload-count.ts';
import { checkListenAddress, serviceName } from '../config.ts';
import { announced } from './announce.ts';
import { registerOpenApi } from './api.ts';
import { createBlobHandOver } from './blob-hand-over.ts';
import { addCollectionMetrics } from './collection-metrics.ts';
import { addFarmMetrics } from './farm-metrics.ts';
import { registerHome } from './home.ts';
import type { ServeOptions } from './messages.ts';
import { builderDeps, createParts } from './parts.ts';

/** One process that answers HTTP. Errors: UserError (port in use, configuration). */
export async function startHttpProcess(
  options: ServeOptions,
  events: EventBus,
): Promise<{ port: number; close(): Promise<void> }> {
  const metrics = createMetrics({ process: true });
  const parts = await createParts(options, metrics);
  const { config, log, store, authenticator } = parts;
  const registry = announced(parts.registry, events);
  addCollectionMetrics(metrics, store);
  const address = checkListenAddress(config, { insecureOpen: options.insecureOpen });
  let stopping = false;
  const http = createHttpServer({
    log,
    metrics,
    accessLog: config.log.access,
    ...(config.publicUrl === undefined ? {} : { publicUrl: config.publicUrl }),
    trustedProxies: config.trustedProxies,
    notReady: async () => {
      if (stopping) return 'stopping';
      await store.get('auth/ready');
      return undefined;
    },
  });
  // Requests fail with 503 until the store answers; why it does not is said once, at the start.
  store
    .get('auth/ready')
    .catch((error: unknown) => log.error({ err: error }, 'the object store cannot be used'));
  const { app } = http;
  const { maxUploads } = config.registry;
  const context = createStoreContext({ store });
  const limited =
    maxUploads === 0
      ? registry
      : limitedUploads(registry, { max: maxUploads, count: (...args) => countUploads(context, ...args) });
  const { promotion } = parts;
  const protectedFor = ({ principal, authorizer }: Identity): Registry =>
    promotedTags(limited, {
      policy: promotion,
      mayRemove: (repository) => authorizer.may(principal, 'admin', repository),
    });
  await registerOpenApi(app, packageJson.version);
  if (parts.accounts !== undefined)
    await app.register(parts.accounts.tokenRoutes((request) => http.origin.address(request)));
  if (options.roles.includes('registry')) {
    const isPool = createIsPool(config.registry.pools.accounts, authenticator);
    const handOver = createBlobHandOver({
      config,
      store,
      origin: http.origin,
      metrics,
      log,
      // Without accounts a pool is known by what it says; nobody gains anything by saying so.
      isPool: (request, principal) =>
        isPool(principal) && (authenticator.required || request.headers['x-pool-proxy'] !== undefined),
    });
    await app.register(registryRoutes, {
      registryFor: (identity) => authorized(protectedFor(identity), identity),
      authenticator,
      http,
      log,
      service: serviceName(config),
      ...(handOver === undefined ? {} : { handOver }),
    });
    const protects = (repository: string): boolean => promotion.concerns(repository);
    const onDeleted = (repository: string): void =>
      events.publish(originTopic, { action: 'remove', repository } satisfies OriginEvent);
    await app.register(createRepositoryRoutes({ context, authenticator, http, protects, onDeleted }));
    const images = createImageRecords(store);
    const promoter = createPromoter({
      store,
      registry,
      policy: promotion,
      evidenceOf: images.read,
      carryEvidence: images.carry,
      now: Date.now,
    });
    await app.register(createPromotionRoutes({ promoter, registry, authenticator, http }));
    await app.register(createOriginEventRoutes({ events, authenticator, http, isPool }));
    const { egressMbps } = config.registry.pools;
    const egress = egressMbps === 0 ? undefined : egressMbps * 1_000_000;
    await app.register(createLeaseRoutes({ store, egress, authenticator, http, isPool }));
    await app.register(createPopularityRoutes({ store, authenticator, http, isPool }));
    if (parts.accounts !== undefined) {
      const { tokens, authorizer } = parts.accounts;
      await app.register(createVoidTokenRoutes({ tokens, authorizer, authenticator, http, isPool }));
    }
  }
  let builder: Builder | undefined;
  if (options.roles.includes('builder')) {
    builder = await createBuilder({ ...builderDeps(parts), registry, events });
    addFarmMetrics(metrics, builder.figures);
    await app.register(createGitRoutes({ git: builder.git, authenticator, http }));
    await app.register(createBuildRoutes({ builds: builder.builds, authenticator, http }));
    await app.register(createArtifactRoutes({ builds: builder.builds, authenticator, http }));
    await app.register(createBaseImageRoutes({ propagation: builder.propagation, authenticator, http }));
    const { defaultBase } = config.builder;
    await app.register(
      createLintRoutes({ parseAppFile: createAppFileParser(), defaultBase, authenticator, http }),
    );
    await app.register(createPackageRoutes({ ...builder, authenticator, http }));
    await app.register(createSecretRoutes({ ...builder, authenticator, http }));
    await app.register(createHookRoutes({ triggers: builder.triggers, authenticator, http }));
  }
  registerHome(app, {
    http,
    authenticator,
    registryFor: (identity) => authorized(registry, identity),
    builds: builder?.builds,
  });

  try {
    await app.listen({ port: address.port, host: address.host });
  } catch (cause) {
    throw listenError(cause as NodeJS.ErrnoException, config.listen);
  }
  const { server } = app;
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    async close() {
      stopping = true;
      await delay(config.shutdown.notReadySeconds * 1000);
      const cut = setTimeout(() => server.closeAllConnections(), config.shutdown.drainSeconds * 1000);
      await app.close();
      clearTimeout(cut);
      await builder?.close();
      await parts.close();
    },
  };
}

function listenError(error: NodeJS.ErrnoException, listen: string): UserError {
  const hints: Record<string, string> = {
    EADDRINUSE:
      'another program listens there. Stop it, or choose another port: BRICKYARD_LISTEN=127.0.0.1:5001',
    EACCES: 'this user may not listen on that port. Choose one above 1023, or put a web server in front.',
    EADDRNOTAVAIL: 'this machine has no such address.',
  };
  return new UserError(`cannot listen on ${listen}: ${hints[error.code ?? ''] ?? error.message}`, {
    cause: error,
  });
}
