import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Authenticator, Identity } from '../../core/auth/authenticator.ts';
import type { Principal } from '../../core/auth/authorizer.ts';
import { identifyCaller, problem, unauthorized } from '../../core/http/api-answers.ts';
import type { HttpServer } from '../../core/http/http-server.ts';

export interface PoolCallerDeps {
  readonly authenticator: Authenticator;
  readonly http: Pick<HttpServer, 'origin'>;
  readonly isPool: IsPool;
}

/** Whether an account is a pool's own, by `registry.pools.accounts`. */
export type IsPool = (principal: Principal) => boolean;

/** Without accounts nobody can be told apart, and everybody may do everything: then every caller may ask what a pool asks. */
export function createIsPool(accounts: readonly string[], authenticator: Authenticator): IsPool {
  const names = new Set(accounts);
  return (principal) => !authenticator.required || (!principal.anonymous && names.has(principal.name));
}

/** The pool that asks. Undefined: it is none, and the request is answered. */
export async function identifyPool(
  deps: PoolCallerDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Identity | undefined> {
  const identity = await identifyCaller(deps, request, reply);
  if (identity === undefined) return undefined;
  const { principal } = identity;
  if (deps.isPool(principal)) return identity;
  if (principal.anonymous) void unauthorized(reply);
  else {
    const message = `${principal.name} is not the account of a pool: name it in registry.pools.accounts`;
    void problem(reply, 403, 'DENIED', message);
  }
  return undefined;
}
