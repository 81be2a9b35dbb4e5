import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';

/**
 * `/api/v1/openapi.json`: made from the routes' own schemas, so it cannot differ from what is served. Register it before the routes of
 * the management API; routes without a tag (the registry's, git's) have their own specifications and are left out.
 */
export async function registerOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Brickyard management API',
        version,
        description: 'The registry itself speaks the OCI distribution API at /v2/; git is served at /git/.',
      },
      components: {
        securitySchemes: {
          basic: { type: 'http', scheme: 'basic' },
          bearer: { type: 'http', scheme: 'bearer', description: 'A token of /token.' },
        },
      },
      security: [{ basic: [] }, { bearer: [] }],
    },
    hideUntagged: true,
  });
  app.get('/api/v1/openapi.json', { schema: { hide: true } }, () => app.swagger());
}
