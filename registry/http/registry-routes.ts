import type { FastifyInstance } from 'fastify';
import { createRegistryHandler, type RegistryHandlerOptions } from './registry-handler.ts';

/** The OCI distribution API on a listener: `/v2` and everything under it. Fastify plugin. */
export function registryRoutes(
  app: FastifyInstance,
  options: RegistryHandlerOptions,
  done: () => void,
): void {
  const handle = createRegistryHandler(options);
  options.http.direct('/v2', (request, response) => void handle(request, response));
  // The same for `app.inject`, which knows no listener. Before Fastify looks at the body: blobs are streams without a limit, whatever their Content-Type says.
  app.addHook('onRequest', (request, reply, _next) => {
    reply.hijack();
    void handle(request.raw, reply.raw);
  });
  const unreachable = (): void => {};
  app.all('/v2', unreachable);
  app.all('/v2/*', unreachable);
  done();
}
