import type { Authenticator, Identity } from '../../core/auth/authenticator.ts';
import { anonymous, openAuthorizer } from '../../core/auth/authorizer.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../core/http/http-server.ts';
import { createSilentLogger, type Logger } from '../../core/log.ts';
import { createMetrics } from '../../core/metrics.ts';
import type { Registry } from '../../oci/registry.ts';
import { registryRoutes } from '../../registry/http/registry-routes.ts';

export interface TestRegistryServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  readonly http: HttpServer;
  close(): Promise<void>;
}

export interface TestRegistryServerOptions extends Partial<HttpServerOptions> {
  readonly authenticator?: Authenticator;
  readonly registryFor?: (identity: Identity) => Registry;
  readonly log?: Logger;
  /** Whatever else answers on the same listener. */
  readonly plugins?: (http: HttpServer) => Promise<void>;
}

/** A registry behind the real listener, on a free port of the loopback. */
export async function startRegistryServer(
  registry: Registry,
  options: TestRegistryServerOptions = {},
): Promise<TestRegistryServer> {
  const log = options.log ?? createSilentLogger();
  const http = createHttpServer({ metrics: createMetrics(), ...options, log });
  await http.app.register(registryRoutes, {
    registryFor: options.registryFor ?? (() => registry),
    authenticator: options.authenticator ?? openAuthenticator,
    http,
    log,
  });
  await options.plugins?.(http);
  const url = await http.app.listen({ host: '127.0.0.1', port: 0 });
  const close = async (): Promise<void> => {
    http.app.server.closeAllConnections();
    await http.app.close();
  };
  return { url, port: Number(new URL(url).port), http, close, [Symbol.asyncDispose]: close };
}

const openIdentity: Identity = { principal: anonymous, authorizer: openAuthorizer };

/** Open mode: everybody may do everything. */
export const openAuthenticator: Authenticator = {
  required: false,
  identify: () => Promise.resolve(openIdentity),
};
