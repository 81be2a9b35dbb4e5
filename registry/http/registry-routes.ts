import type { FastifyInstance } from 'fastify';
import type { RawHandler } from '../../core/http/http-server.ts';
import { createRegistryHandler, type RegistryHandlerOptions } from './registry-handler.ts';

/** The OCI distribution API on a listener: `/v2` and everything under it. Fastify plugin. */
export function registryRoutes(
  app: FastifyInstance,
  options: RegistryHandlerOptions,
  done: () => void,
): void {
  const handler = createRegistryHandler(options);
  const running = new Set<Promise<void>>();
  const handle: RawHandler = (request, response) => {
    const call = handler(request, response).finally(() => running.delete(call));
    running.add(call);
  };
  // A connection that is cut leaves a call that still has to write down how far its upload came.
  app.addHook('onClose', async () => void (await Promise.allSettled(running)));
  options.http.direct('/v2', handle);
  // The same for `app.inject`, which knows no listener. Before Fastify looks at the body: blobs are streams without a limit, whatever their Content-Type says.
  app.addHook('onRequest', (request, reply, _next) => {
    reply.hijack();
    handle(request.raw, reply.raw);
  });
  const unreachable = (): void => {};
  app.all('/v2', unreachable);
  app.all('/v2/*', unreachable);
  done();
}
