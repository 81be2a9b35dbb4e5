import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Authenticator, type Identity, InvalidCredentials } from '../auth/authenticator.ts';
import { basicChallenge } from '../auth/challenge.ts';
import { Type } from '../type.ts';
import type { HttpServer } from './http-server.ts';

/** How the management API says that something was refused or failed. */
export const errorSchema = Type.Object({
  error: Type.Object({ code: Type.String(), message: Type.String() }),
});

/** Answers with an error of the management API; `code` is for programs, `message` for people. */
export function problem(reply: FastifyReply, status: number, code: string, message: string): FastifyReply {
  return reply.status(status).send({ error: { code, message } });
}

/** Answers whoever must sign in first, or did so with a wrong password. */
export function unauthorized(reply: FastifyReply): FastifyReply {
  void reply.header('WWW-Authenticate', basicChallenge('brickyard'));
  return problem(reply, 401, 'UNAUTHORIZED', 'authentication required');
}

/** Who asks. Undefined: the credentials are no good, and the request is answered. */
export async function identifyCaller(
  deps: { readonly authenticator: Authenticator; readonly http: Pick<HttpServer, 'origin'> },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Identity | undefined> {
  const { authenticator, http } = deps;
  try {
    return await authenticator.identify(request.headers.authorization, http.origin.address(request.raw));
  } catch (error) {
    if (!(error instanceof InvalidCredentials)) throw error;
    void unauthorized(reply);
    return undefined;
  }
}
