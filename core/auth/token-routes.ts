import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { InvalidCredentials, TooManyAttempts } from './authenticator.ts';
import { type Authorizer, anonymous, type Principal } from './authorizer.ts';
import { basicChallenge } from './challenge.ts';
import { parseAuthorization } from './credentials.ts';
import type { PasswordChecker } from './password-checker.ts';
import { formatScopes, grantScopes, parseScopes } from './scope.ts';
import type { SigningKeys } from './signing-keys.ts';
import type { Tokens } from './tokens.ts';

export interface TokenRoutesOptions {
  readonly passwords: PasswordChecker;
  readonly tokens: Tokens;
  readonly keys: SigningKeys;
  readonly authorizer: Authorizer;
  /** The client's address as trusted proxies tell it (`core/http/client-origin.ts`), to count failed attempts by. */
  readonly address: (request: IncomingMessage) => string;
}

/** What a client wants, read from the query of GET or the form of POST. */
interface TokenRequest {
  readonly principal: Principal;
  readonly scope: string | string[] | undefined;
  readonly refresh: boolean;
}

/** Far above a hundred scopes. */
const maxFormBytes = 64 * 1024;

/**
 * The token service of docker's registry authentication: `GET /token` (Basic or nobody), `POST /token` (OAuth 2 form), and
 * `GET /.well-known/jwks.json`. A token grants what was asked and the rules allow; asking for more is no error.
 */
export function createTokenRoutes(options: TokenRoutesOptions): FastifyPluginAsync {
  const { tokens, keys } = options;

  const fromQuery = async (request: FastifyRequest): Promise<TokenRequest> => {
    const query = new URL(request.url, 'http://localhost').searchParams;
    checkService(query.getAll('service'), tokens.service);
    return {
      principal: await signIn(request, options),
      scope: query.getAll('scope'),
      refresh: query.get('offline_token') === 'true',
    };
  };

  const fromForm = async (request: FastifyRequest): Promise<TokenRequest> => {
    const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
    checkService(form.getAll('service'), tokens.service);
    return {
      principal: await grantOf(form, request, options),
      scope: form.getAll('scope'),
      refresh: form.get('access_type') === 'offline',
    };
  };

  const answer = async (asked: TokenRequest, reply: FastifyReply): Promise<object> => {
    const access = grantScopes(parseScopes(asked.scope), asked.principal, options.authorizer);
    const { token, expiresIn, issuedAt } = await tokens.issue(asked.principal, access);
    const refresh = asked.refresh ? await tokens.issueRefresh(asked.principal) : undefined;
    void reply.header('cache-control', 'no-store');
    return {
      token,
      access_token: token,
      token_type: 'Bearer',
      expires_in: expiresIn,
      issued_at: issuedAt.toISOString(),
      scope: formatScopes(access),
      ...(refresh === undefined ? {} : { refresh_token: refresh }),
    };
  };

  return async (app: FastifyInstance) => {
    app.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: maxFormBytes },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );
    app.get('/token', async (request, reply) => {
      try {
        return await answer(await fromQuery(request), reply);
      } catch (error) {
        return refuse(error, reply);
      }
    });
    app.post('/token', async (request, reply) => {
      try {
        return await answer(await fromForm(request), reply);
      } catch (error) {
        return refuse(error, reply);
      }
    });
    app.get('/.well-known/jwks.json', async (_request, reply) => {
      void reply.header('cache-control', 'public, max-age=60').type('application/jwk-set+json');
      return JSON.stringify(await keys.publicKeys());
    });
  };
}

/** No header = nobody in particular: public repositories are pulled with a token, too. */
async function signIn(
  request: FastifyRequest,
  { passwords, address }: TokenRoutesOptions,
): Promise<Principal> {
  const { authorization } = request.headers;
  if (authorization === undefined) return anonymous;
  const credentials = parseAuthorization(authorization);
  // A token must not buy another one: it would outlive its time.
  if (credentials.kind !== 'basic') throw new InvalidCredentials('a password is needed here');
  await passwords.check(credentials.user, credentials.password, address(request.raw));
  return { name: credentials.user, anonymous: false };
}

async function grantOf(
  form: URLSearchParams,
  request: FastifyRequest,
  { passwords, tokens, address }: TokenRoutesOptions,
): Promise<Principal> {
  const grant = form.get('grant_type');
  if (grant === 'refresh_token') return tokens.verifyRefresh(form.get('refresh_token') ?? '');
  if (grant === 'password') {
    const user = form.get('username') ?? '';
    await passwords.check(user, form.get('password') ?? '', address(request.raw));
    return { name: user, anonymous: false };
  }
  throw new BadTokenRequest('unsupported_grant_type', 'grant_type must be password or refresh_token');
}

class BadTokenRequest extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A token for another service would be useless to the client: better to say so. */
function checkService(asked: readonly string[], service: string): void {
  if (asked.some((name) => name !== '' && name !== service)) {
    throw new BadTokenRequest('invalid_request', `this is the token service of ${service}`);
  }
}

/** Both forms of error body: OAuth 2's (RFC 6749 section 5.2) and the registry's, as clients read either. */
function refuse(error: unknown, reply: FastifyReply): FastifyReply {
  const body = (code: string, oauth: string, message: string): object => ({
    error: oauth,
    error_description: message,
    errors: [{ code, message }],
  });
  void reply.header('cache-control', 'no-store');
  if (error instanceof TooManyAttempts) {
    return reply
      .code(429)
      .header('retry-after', error.retryAfter)
      .send(body('TOOMANYREQUESTS', 'slow_down', error.message));
  }
  if (error instanceof InvalidCredentials) {
    return reply
      .code(401)
      .header('www-authenticate', basicChallenge('brickyard'))
      .send(body('UNAUTHORIZED', 'invalid_grant', 'the name, the password or the token is wrong'));
  }
  if (error instanceof BadTokenRequest) {
    return reply.code(400).send(body('UNSUPPORTED', error.code, error.message));
  }
  throw error;
}
