import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import { type Authenticator, InvalidCredentials } from '../../core/auth/authenticator.ts';
import type { HttpServer } from '../../core/http/http-server.ts';
import { challenge } from '../git/create-git-host.ts';
import type { GitHost } from '../git/git-host.ts';

export interface GitRoutesOptions {
  readonly git: GitHost;
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'observe' | 'origin'>;
}

/** `/git/…`: git's own protocol on the raw request and response; bodies are never parsed. */
export function createGitRoutes(options: GitRoutesOptions): FastifyPluginAsync {
  const { git, authenticator, http } = options;
  return async (app: FastifyInstance) => {
    app.removeAllContentTypeParsers();
    // Any type, and nothing read: the stream goes to git.
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    app.route({
      method: ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'],
      url: '/git/*',
      // A pack has no largest size.
      bodyLimit: Number.MAX_SAFE_INTEGER,
      schema: { hide: true },
      handler: async (request, reply) => {
        reply.hijack();
        const { raw } = request;
        const response = reply.raw;
        http.observe(raw, response, '/git/<team>/<app>.git');
        try {
          const identity = await authenticator.identify(raw.headers.authorization, http.origin.address(raw));
          await git.handle(raw, response, identity);
        } catch (error) {
          if (!(error instanceof InvalidCredentials)) throw error;
          challenge(response);
          discard(raw);
        }
      },
    });
  };
}

/** What is still arriving of a refused request is read and dropped; the connection is closed with the answer. */
function discard(request: IncomingMessage): void {
  request.on('error', () => {});
  request.resume();
}
