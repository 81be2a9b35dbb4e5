import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { Sandbox } from '../../../builder/engines/engine.ts';
import { createArtifactRoutes } from '../../../builder/http/artifact-routes.ts';
import { createBaseImageRoutes } from '../../../builder/http/base-image-routes.ts';
import { createBuildRoutes } from '../../../builder/http/build-routes.ts';
import { createGitRoutes } from '../../../builder/http/git-routes.ts';
import { createHookRoutes } from '../../../builder/http/hook-routes.ts';
import { createPackageRoutes } from '../../../builder/http/package-routes.ts';
import { createSecretRoutes } from '../../../builder/http/secret-routes.ts';
import { type Builder, type BuilderDeps, createBuilder } from '../../../builder/main.ts';
import type { PackageLimits } from '../../../builder/package/package-service.ts';
import type { PropagationSettings } from '../../../builder/propagate/settings.ts';
import type { Trigger } from '../../../builder/triggers/trigger.ts';
import type { Authenticator } from '../../../core/auth/authenticator.ts';
import { type Authorizer, openAuthorizer } from '../../../core/auth/authorizer.ts';
import { createOpenAuthenticator } from '../../../core/auth/create-authenticator.ts';
import { createEventBus } from '../../../core/events.ts';
import { createHttpServer } from '../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMetrics } from '../../../core/metrics.ts';
import type { ObjectStore } from '../../../core/object-store/object-store.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { gitOk } from './git-fixture.ts';

export interface Farm extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly builder: Builder;
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Git, builds and their management API over one store, as a server of one process has them. */
export async function startFarm(options: {
  store: ObjectStore;
  cacheDir: string;
  authenticator?: Authenticator;
  authorizer?: Authorizer;
  /** Default true: builds are run. */
  work?: boolean;
  /** What the builder is given instead of the registry. */
  between?: (registry: Registry) => Registry;
  sandbox?: Sandbox;
  propagation?: PropagationSettings;
  packageLimits?: PackageLimits;
  secretsKey?: string;
  triggers?: readonly Trigger[];
  publicUrl?: string;
  dependencyCache?: BuilderDeps['dependencyCache'];
}): Promise<Farm> {
  const { store, cacheDir, authorizer = openAuthorizer, authenticator = createOpenAuthenticator() } = options;
  const log = createSilentLogger();
  const registry = createStoredRegistry({ store });
  const builder = await createBuilder({
    store,
    registry: options.between?.(registry) ?? registry,
    authorizer,
    events: createEventBus(),
    log,
    cacheDir,
    ...(options.propagation === undefined ? {} : { propagation: options.propagation }),
    ...(options.dependencyCache === undefined ? {} : { dependencyCache: options.dependencyCache }),
    ...(options.secretsKey === undefined ? {} : { secretsKey: options.secretsKey }),
    ...(options.packageLimits === undefined ? {} : { packageLimits: options.packageLimits }),
    ...(options.triggers === undefined ? {} : { triggers: options.triggers }),
    ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
  });
  const http = createHttpServer({ log, metrics: createMetrics() });
  await http.app.register(createGitRoutes({ git: builder.git, authenticator, http }));
  await http.app.register(createBuildRoutes({ builds: builder.builds, authenticator, http }));
  await http.app.register(createArtifactRoutes({ builds: builder.builds, authenticator, http }));
  await http.app.register(createBaseImageRoutes({ propagation: builder.propagation, authenticator, http }));
  await http.app.register(createPackageRoutes({ ...builder, authenticator, http }));
  await http.app.register(createSecretRoutes({ ...builder, authenticator, http }));
  await http.app.register(createHookRoutes({ triggers: builder.triggers, authenticator, http }));
  await http.app.listen({ port: 0, host: '127.0.0.1' });
  const worker =
    options.work === false
      ? undefined
      : builder.work(options.sandbox === undefined ? {} : { sandbox: options.sandbox });
  const { port } = http.app.server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    await worker?.close();
    await http.app.close();
    await builder.close();
  };
  const host = `127.0.0.1:${port}`;
  return { url: `http://${host}`, host, builder, registry, close, [Symbol.asyncDispose]: close };
}

/** An image that App.yaml can build on: one layer of `layerBytes` arbitrary bytes, as no test looks into it. */
export async function pushBase(
  registry: Registry,
  layerBytes = 1000,
  [name, channel]: readonly [string, string] = ['nodejs', '26'],
  annotations: Readonly<Record<string, string>> = {},
): Promise<void> {
  const repository = `baseimages/${name}`;
  const layer = Buffer.alloc(layerBytes, 'base');
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/usr/bin'] },
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    }),
  );
  for (const blob of [layer, config]) await registry.putBlob(repository, digestOf(blob), blob);
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(mediaTypes.ociConfig, config),
    layers: [describe(mediaTypes.ociLayer, layer)],
    annotations,
  };
  await registry.putManifest(
    repository,
    channel,
    Buffer.from(JSON.stringify(manifest)),
    mediaTypes.ociManifest,
  );
}

export const appYaml =
  'appname: app\nbase: nodejs:26\nentrypoints:\n  web:\n    cmd: node server.js\n    ports: [8080]\n';

/** A git repository with a first commit on main. */
export async function createWork(
  work: string,
  files: Readonly<Record<string, string>> = { 'App.yaml': appYaml, 'server.js': 'console.log(1)\n' },
): Promise<string> {
  await mkdir(work, { recursive: true });
  await gitOk(work, 'init', '-q', '-b', 'main');
  await commitFiles(work, files);
  return work;
}

/** Returns the commit. */
export async function commitFiles(work: string, files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(work, name)), { recursive: true });
    await writeFile(join(work, name), text);
  }
  await gitOk(work, 'add', '-A');
  await gitOk(work, 'commit', '-q', '--allow-empty', '-m', 'change');
  return (await gitOk(work, 'rev-parse', 'HEAD')).trim();
}
