import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Authenticator, type Identity, InvalidCredentials } from '../../core/auth/authenticator.ts';
import { basicChallenge } from '../../core/auth/challenge.ts';
import type { HttpServer } from '../../core/http/http-server.ts';

/** Who looks at a page. Undefined: the answer, which asks him to sign in, is sent already. */
export async function identifyVisitor(
  deps: { readonly http: Pick<HttpServer, 'origin'>; readonly authenticator: Authenticator },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Identity | undefined> {
  const { http, authenticator } = deps;
  try {
    const address = http.origin.address(request.raw);
    const identity = await authenticator.identify(request.headers.authorization, address);
    if (authenticator.required && identity.principal.anonymous) throw new InvalidCredentials('sign in');
    return identity;
  } catch (error) {
    if (!(error instanceof InvalidCredentials)) throw error;
    void reply
      .code(401)
      .header('www-authenticate', basicChallenge('brickyard'))
      .type('text/plain')
      .send('sign in\n');
    return undefined;
  }
}
