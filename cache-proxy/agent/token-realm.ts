import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LRUCache } from 'lru-cache';
import { parseAuthorization } from '../../core/auth/credentials.ts';
import { BodyTooLarge, readBody } from '../../core/http/read-body.ts';
import { parseScopes, type Scope } from '../../oci/scope.ts';
import type { EngineLog } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { headersOf, wrongMs } from './asked-rights.ts';
import { grantsPull, matcher } from './create-gate.ts';
import { type AskedToken, type GivenTokens, tokenIn } from './given-tokens.ts';
import type { Grants } from './grants.ts';
import type { IssuedTokens } from './issued-tokens.ts';
import type { LiveTokens } from './live-tokens.ts';
import {
  type OriginAnswer,
  type OriginClient,
  type OriginState,
  OriginUnavailable,
} from './origin-client.ts';
import type { OriginProfile } from './origin-profile.ts';
import { credentialOf } from './pool-challenge.ts';
import type { PoolKey } from './pool-key.ts';
import { refuse, respondJson, unavailable } from './respond.ts';

export interface TokenRealmDeps {
  readonly pool: Pool;
  readonly client: OriginClient;
  readonly state: OriginState;
  readonly profile: OriginProfile;
  readonly tokens: LiveTokens;
  readonly grants: Grants;
  /** Its `forget` is called wherever a grant is forgotten. */
  readonly given: GivenTokens;
  readonly issued: IssuedTokens;
  readonly poolKey: PoolKey;
  readonly log: EngineLog;
  /** Address of whoever asks, through the engine. */
  readonly addressOf: (request: IncomingMessage) => string | undefined;
  readonly now?: () => number;
}

/** What somebody wants, and as whom. */
interface TokenRequest {
  /** Undefined: nothing that a person could be known by again. */
  readonly credential: string | undefined;
  /** Repositories to be pulled from. */
  readonly repositories: readonly string[];
  /** What a former answer to the very same may be given again for; undefined: only the origin answers this. */
  readonly asked?: AskedToken;
  readonly query: URLSearchParams;
  readonly form?: Buffer;
  readonly authorization?: string;
  readonly client?: string;
}

const maxForm = 64 * 1024;
const maxRepositories = 100;
/** Milliseconds for which a token is given again that only the origin can read: whether it grants anything is not known here. */
const opaqueMs = 20_000;

/**
 * `/token` of the pool (docker's token specification, GET and the OAuth form by POST): the origin's own answer, as long as it gives one. Docker wants a token
 * for each pull, so without one nothing that is cached could be pulled while the origin is away: then whoever was let in before gets a short one of the pool's.
 *
 * While the line crawls the token of the last time is given again, see `given-tokens.ts`. Whom the origin no longer knows can fetch it from here for as long as
 * the first copy, but use neither for longer than the gate believes a token: it hears every ten seconds which are void, and after fifteen without word it asks
 * before it serves. From then on only the origin gives him tokens.
 */
export function createTokenRealm(deps: TokenRealmDeps) {
  const { pool, client, state, profile, tokens, grants, given, issued, poolKey, log } = deps;
  const { now = Date.now } = deps;
  const isAnonymous = matcher(pool.auth.anonymousRepositories);
  /** What the origin said to credentials that are wrong, by a hash that means nothing outside of this process. */
  const wrong = new LRUCache<string, { told: OriginAnswer; until: number }>({ max: 1_000 });
  const renewing = new Set<AskedToken['wish']>();
  const secret = randomBytes(32);
  const hashOf = (credential: string): string =>
    createHmac('sha256', secret).update(credential).digest('base64');

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method !== 'GET' && request.method !== 'POST') {
      response.setHeader('Allow', 'GET, POST');
      refuse(response, 'UNSUPPORTED');
      return;
    }
    try {
      const wanted = await read(request);
      if (wanted === undefined) refuse(response, 'UNSUPPORTED', 400);
      else await answer(wanted, response);
    } catch (error) {
      if (response.headersSent || request.destroyed) response.destroy();
      else if (error instanceof BodyTooLarge) refuse(response, 'SIZE_TOO_LARGE');
      else if (error instanceof OriginUnavailable) unavailable(response, error.retryAfter);
      else {
        log.error({ err: error }, 'a token could not be fetched');
        unavailable(response, 5);
      }
    }
  };

  async function answer(wanted: TokenRequest, response: ServerResponse): Promise<void> {
    let told: OriginAnswer;
    const again = giveAgain(wanted);
    if (again !== undefined) {
      send(response, again);
      return;
    }
    try {
      told = refusedBefore(wanted.credential) ?? (await forward(wanted));
    } catch (error) {
      if (!(error instanceof OriginUnavailable) || error.answersOthers) throw error;
      const token = await own(wanted);
      if (token === undefined) unavailable(response, error.retryAfter);
      else respondJson(response, 200, token);
      return;
    }
    await learn(wanted, told);
    send(response, told);
  }

  function giveAgain(wanted: TokenRequest): OriginAnswer | undefined {
    const { credential, asked } = wanted;
    if (state.hurry === undefined || asked === undefined) return undefined;
    const found = refusedBefore(credential) === undefined ? given.find(asked) : undefined;
    if (found === undefined || tokens.isVoid(found.token)) return undefined;
    // What is in use is asked about every ten seconds, and what was not is by the time that it is used.
    tokens.check(found.token).catch(() => {});
    if (found.aging) renew(wanted, asked);
    return { status: 200, headers: {}, body: found.body };
  }

  /** Nobody waits for it. */
  function renew(wanted: TokenRequest, asked: AskedToken): void {
    const key = hashOf(JSON.stringify(asked));
    if (renewing.has(key)) return;
    renewing.add(key);
    forward(wanted)
      .then((told) => learn(wanted, told))
      .catch((error: unknown) => {
        if (!(error instanceof OriginUnavailable)) log.warn({ err: error }, 'a token could not be renewed');
      })
      .finally(() => renewing.delete(key));
  }

  async function forward({
    query,
    form,
    authorization,
    client: address,
  }: TokenRequest): Promise<OriginAnswer> {
    const challenge = await profile.challenge();
    if (challenge.scheme !== 'bearer') return { status: 404, headers: {}, body: Buffer.from('{}\n') };
    const { realm } = challenge;
    const url = new URL(realm, client.urls[0]);
    for (const [name, value] of query) url.searchParams.append(name, value);
    return client.ask({
      method: form === undefined ? 'GET' : 'POST',
      target: typeof realm === 'string' ? url.pathname + url.search : url,
      headers: {
        accept: 'application/json',
        ...headersOf(authorization, typeof realm === 'string' ? address : undefined),
        ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(form === undefined ? {} : { body: form }),
    });
  }

  function refusedBefore(credential: string | undefined): OriginAnswer | undefined {
    const known = credential === undefined ? undefined : wrong.get(hashOf(credential));
    return known !== undefined && known.until > now() ? known.told : undefined;
  }

  /** Whom the origin let in where, and whom it refused. */
  async function learn({ credential, repositories, asked }: TokenRequest, told: OriginAnswer): Promise<void> {
    if (credential === undefined) return;
    if (told.status === 401 && credential !== '') {
      if (refusedBefore(credential) === undefined)
        wrong.set(hashOf(credential), { told, until: now() + wrongMs });
      await grants.forget(credential);
    }
    const token = told.status === 200 ? tokenIn(told.body) : undefined;
    if (token === undefined) return;
    issued.add(token, { credential, repositories });
    const checked = await tokens.issued(token);
    // What a token grants that only the origin can read is seen when it is used.
    if (checked.kind === 'opaque' && asked !== undefined) given.add(asked, told.body, opaqueMs);
    if (checked.kind !== 'good') return;
    const granted = repositories.filter((repository) => grantsPull(checked.access, repository));
    const refused = repositories.filter((repository) => !granted.includes(repository));
    if (refused.length > 0) await grants.forget(credential, refused);
    // Who was refused something may be let in any moment, and must not be given the refusal again.
    else if (asked !== undefined) given.add(asked, told.body, Number.POSITIVE_INFINITY);
    await grants.remember(credential, granted);
  }

  /** Undefined: nobody here was told that he may. */
  async function own({ credential, repositories }: TokenRequest): Promise<object | undefined> {
    const access: Scope[] = [];
    for (const name of repositories) {
      const may = isAnonymous(name) || (credential !== undefined && (await grants.has(credential, name)));
      if (may) access.push({ type: 'repository', name, actions: ['pull'] });
    }
    const signsIn = repositories.length === 0 && credential !== undefined && (await grants.has(credential));
    if (access.length === 0 && !signsIn) return undefined;
    const token = await poolKey.issue(access);
    return {
      token,
      access_token: token,
      token_type: 'Bearer',
      expires_in: poolKey.lifetime,
      issued_at: new Date(now()).toISOString(),
    };
  }

  async function read(request: IncomingMessage): Promise<TokenRequest | undefined> {
    const query = new URL(request.url ?? '/', 'http://pool').searchParams;
    const { authorization } = request.headers;
    const address = deps.addressOf(request);
    const form = request.method === 'POST' ? await readBody(request, maxForm) : undefined;
    const fields = form === undefined ? query : new URLSearchParams(form.toString());
    const credential = form === undefined ? basicCredential(authorization) : formCredential(fields);
    if (credential === undefined && form === undefined) return undefined;
    const scopes = fields.getAll('scope');
    const wish = onlyPulls(scopes, fields)
      ? JSON.stringify([request.method, query.toString(), form?.toString()])
      : undefined;
    return {
      credential,
      repositories: wantedRepositories(scopes),
      ...(wish === undefined || credential === undefined ? {} : { asked: { credential, wish } }),
      query,
      ...(form === undefined ? {} : { form }),
      ...(authorization === undefined ? {} : { authorization }),
      ...(address === undefined ? {} : { client: address }),
    };
  }
}

function send(response: ServerResponse, { status, headers, body }: OriginAnswer): void {
  const challenge = headers['www-authenticate'];
  response.writeHead(status, {
    'Content-Type': headers['content-type'] ?? 'application/json',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    ...(challenge === undefined ? {} : { 'WWW-Authenticate': challenge }),
  });
  response.end(body);
}

function wantedRepositories(scopes: readonly string[]): string[] {
  const pulled = parseScopes(scopes).filter(
    ({ type, actions }) => type === 'repository' && (actions.includes('pull') || actions.includes('*')),
  );
  return [...new Set(pulled.map(({ name }) => name))].slice(0, maxRepositories);
}

/** Signing in, pushing, and tokens for long are between the client and the origin. */
function onlyPulls(scopes: readonly string[], fields: URLSearchParams): boolean {
  const parsed = parseScopes(scopes);
  const lasting = fields.get('offline_token') === 'true' || fields.get('access_type') === 'offline';
  const pulls = parsed.every(({ type, actions }) => type === 'repository' && actions.join() === 'pull');
  return parsed.length > 0 && pulls && !lasting;
}

/** Undefined for what is no Basic: a token must not buy another one. */
function basicCredential(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return '';
  try {
    const credentials = parseAuthorization(authorization);
    return credentials.kind === 'basic' ? credentialOf(credentials) : undefined;
  } catch {
    return undefined;
  }
}

function formCredential(form: URLSearchParams): string | undefined {
  const grant = form.get('grant_type');
  if (grant === 'password') {
    return credentialOf({ user: form.get('username') ?? '', password: form.get('password') ?? '' });
  }
  const refresh = form.get('refresh_token') ?? '';
  return grant === 'refresh_token' && refresh !== '' ? JSON.stringify([refresh]) : undefined;
}
