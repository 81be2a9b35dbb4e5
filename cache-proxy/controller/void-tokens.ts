import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import { InvalidCredentials } from '../../core/auth/authenticator.ts';
import type { Action, Authorizer } from '../../core/auth/authorizer.ts';
import type { Tokens } from '../../core/auth/tokens.ts';
import { errorSchema } from '../../core/http/api-answers.ts';
import { Type } from '../../core/type.ts';
import { identifyPool, type PoolCallerDeps } from './pool-caller.ts';

/** Tokens that one request may ask about. */
export const maxAskedTokens = 200;

const bodySchema = Type.Object(
  { tokens: Type.Array(Type.String({ maxLength: 16 * 1024 }), { maxItems: maxAskedTokens }) },
  { additionalProperties: false },
);
const answerSchema = Type.Object({
  void: Type.Array(Type.Integer(), {
    description: 'Places in `tokens` of those that are good for nothing any more, or for less than they say.',
  }),
});

/**
 * `POST /api/v1/pools/void-tokens`: a pool checks tokens by our public keys alone, so it asks now and then which of those in use we would refuse by
 * now: expired, account removed, password changed, or a right in it that no rule grants any more.
 */
export function createVoidTokenRoutes(
  options: PoolCallerDeps & { readonly tokens: Tokens; readonly authorizer: Authorizer },
): FastifyPluginAsync {
  return async (app: FastifyInstance) => {
    app.post<{ Body: Static<typeof bodySchema> }>(
      '/api/v1/pools/void-tokens',
      {
        // Names of tokens in use are as long as the tokens themselves.
        bodyLimit: 4 * 1024 * 1024,
        schema: {
          tags: ['pools'],
          summary: 'Which of these tokens are void',
          body: bodySchema,
          response: { 200: answerSchema, 401: errorSchema, 403: errorSchema },
        },
      },
      async (request, reply) => {
        void reply.header('Cache-Control', 'no-store');
        if ((await identifyPool(options, request, reply)) === undefined) return reply;
        const holds = await Promise.all(request.body.tokens.map((token) => isGood(token, options)));
        return { void: holds.flatMap((good, index) => (good ? [] : [index])) };
      },
    );
  };
}

/** Errors: ObjectStoreUnavailable: then nobody knows, and no token is called void for it. */
async function isGood(
  token: string,
  { tokens, authorizer }: { readonly tokens: Tokens; readonly authorizer: Authorizer },
): Promise<boolean> {
  try {
    const { principal, access } = await tokens.verify(token);
    return access
      .filter(({ type }) => type === 'repository')
      .every(({ name, actions }) =>
        actions.every((action) => authorizer.may(principal, action as Action, name)),
      );
  } catch (error) {
    if (error instanceof InvalidCredentials) return false;
    throw error;
  }
}
