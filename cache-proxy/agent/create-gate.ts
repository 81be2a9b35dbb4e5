import { createHash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { parseAuthorization } from '../../core/auth/credentials.ts';
import { compileRepositoryGlob } from '../../core/auth/repository-glob.ts';
import { isDigest } from '../../oci/digest.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { Scope } from '../../oci/scope.ts';
import type { EngineLog } from '../pool-engine.ts';
import { resolveNamespace } from '../pools/name-space.ts';
import type { Pool } from '../pools/pool.ts';
import type { AskedRight, AskedRights } from './asked-rights.ts';
import type { AccessRequest, Gate, Verdict } from './gate.ts';
import type { Grants } from './grants.ts';
import type { IssuedTokens } from './issued-tokens.ts';
import type { LiveTokens } from './live-tokens.ts';
import type { Memberships } from './memberships.ts';
import { OriginUnavailable } from './origin-client.ts';
import type { OriginProfile } from './origin-profile.ts';
import { challengeOf, credentialOf } from './pool-challenge.ts';

export interface GateDeps {
  readonly pool: Pool;
  readonly profile: OriginProfile;
  readonly tokens: LiveTokens;
  readonly rights: AskedRights;
  readonly memberships: Memberships;
  readonly grants: Grants;
  readonly issued: IssuedTokens;
  /** Bearer token of this process' own requests. */
  readonly secret: string;
  readonly log: EngineLog;
}

export interface PoolGate extends Gate {
  /** What `/v2/` is answered with: who asks is known, or is told how to say so. Never throws. */
  greet(authorization: string | undefined, client?: string): Promise<Verdict>;
}

const own: Verdict = { outcome: 'allowed', prewarm: true };
const allowed: Verdict = { outcome: 'allowed', prewarm: false };
const denied: Verdict = { outcome: 'denied' };
const unknown: Verdict = { outcome: 'unknown' };

/**
 * Two questions for each request, and both must be answered yes: may this client pull from the repository, and is the digest in it? The cache itself has
 * every blob once and asks neither.
 */
export function createGate(deps: GateDeps): PoolGate {
  const { pool, profile, tokens, rights, memberships, grants, issued, log } = deps;
  const isAnonymous = matcher(pool.auth.anonymousRepositories);
  const upstreams = new Map(
    pool.upstreams.map((upstream) => [
      upstream.ns,
      {
        allows: upstream.allow.length === 0 ? () => true : matcher(upstream.allow),
        denies: matcher(upstream.deny),
      },
    ]),
  );
  const isOwn = secretCheck(deps.secret);

  const unauthenticated = async (
    repository: string | undefined,
    error?: 'invalid_token' | 'insufficient_scope',
  ): Promise<Verdict> => {
    const challenge = challengeOf(pool, await profile.challenge(), repository, error);
    // An origin that never says how to sign in has refused for good.
    return challenge === undefined ? denied : { outcome: 'unauthenticated', challenge };
  };

  const decide = async (request: AccessRequest): Promise<Verdict> => {
    if (!isWellFormed(request)) return unknown;
    if (isOwn(request.authorization)) {
      learnMember(request);
      return own;
    }
    const named = resolveNamespace(pool, request.ns, request.repository);
    if (named.kind === 'foreign') return unknown;
    const { repository } = named;
    const ns = named.kind === 'upstream' ? named.upstream.ns : undefined;
    const right = ns === undefined ? await mayPull(request) : mayPullFrom(ns, repository);
    if (right.outcome !== 'allowed' || !('digest' in request.reference)) return right;
    const { kind } = request;
    const { digest } = request.reference;
    const member = await memberships.has({ repository, kind, digest, ...(ns === undefined ? {} : { ns }) });
    if (member === 'refused') {
      warnRefused(repository);
      return denied;
    }
    return member === 'yes' ? right : unknown;
  };

  /** What is fetched in advance must be given out also when the origin is away by the time that somebody asks for it. */
  function learnMember({ ns: asked, repository: path, reference, kind }: AccessRequest): void {
    const named = resolveNamespace(pool, asked, path);
    if (named.kind === 'foreign' || !('digest' in reference)) return;
    const ns = named.kind === 'upstream' ? { ns: named.upstream.ns } : {};
    const member = { ...ns, repository: named.repository, kind, digest: reference.digest };
    memberships.has(member).catch(() => {});
  }

  /** Once for each repository and ten minutes: clients ask again and again. */
  const warned = new LRUCache<string, true>({ max: 1_000, ttl: 600_000 });
  function warnRefused(repository: string): void {
    if (warned.has(repository)) return;
    warned.set(repository, true);
    log.warn(
      { repository },
      "the pool's own account may not pull what a client may; give it the right at the origin",
    );
  }

  /** Everybody may pull there what the pool's account for it may, within the patterns. */
  function mayPullFrom(ns: string, repository: string): Verdict {
    const upstream = upstreams.get(ns);
    if (upstream === undefined) return unknown;
    // `docker.io/nginx` is `docker.io/library/nginx`, and patterns are written for that.
    const full = ns === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository;
    return upstream.allows(full) && !upstream.denies(full) ? allowed : denied;
  }

  async function mayPull(request: AccessRequest): Promise<Verdict> {
    const { authorization, repository } = request;
    if (pool.auth.mode === 'open' || isAnonymous(repository)) return allowed;
    if (authorization === undefined) {
      const { scheme } = await profile.challenge();
      return scheme === 'none' ? asked(request) : unauthenticated(repository);
    }
    const credentials = readCredentials(authorization);
    if (credentials === undefined) return unauthenticated(repository);
    return credentials.kind === 'basic' ? asked(request) : byToken(request, credentials.token);
  }

  async function byToken(request: AccessRequest, token: string): Promise<Verdict> {
    const { repository } = request;
    const state = await tokens.check(token);
    if (state.kind === 'bad') return unauthenticated(repository, 'invalid_token');
    if (state.kind === 'opaque') return asked(request);
    if (grantsPull(state.access, repository)) return state.confirmed ? allowed : confirmed(request);
    // As the origin does it: nobody in particular may sign in, and a token for something else may be changed for another one.
    if (!state.named) return unauthenticated(repository, 'insufficient_scope');
    const wasAsked = issued.find(token)?.repositories.includes(repository) === true;
    const elsewhere = state.access.some(({ type }) => type === 'repository');
    return elsewhere && !wasAsked ? unauthenticated(repository, 'insufficient_scope') : denied;
  }

  /** The token is good by its signature; an origin that cannot say which ones are void is asked with it. */
  async function confirmed(request: AccessRequest): Promise<Verdict> {
    try {
      return await asked(request);
    } catch (error) {
      if (isAway(error)) return allowed;
      throw error;
    }
  }

  /** Lets the origin decide, and remembers what it said for the time in which it cannot. */
  async function asked(request: AccessRequest): Promise<Verdict> {
    const { authorization, repository } = request;
    const credential = knownCredential(authorization);
    let right: AskedRight;
    try {
      right = await rights.ask(request, (late) => {
        if (credential !== undefined) keep(credential, late, [repository]).catch(() => {});
      });
    } catch (error) {
      if (!isAway(error) || credential === undefined) throw error;
      if (await grants.has(credential, repository)) return allowed;
      throw error;
    }
    if (credential !== undefined) await keep(credential, right, [repository]);
    if (right === 'allowed') return allowed;
    if (right === 'unauthenticated')
      return unauthenticated(repository, isBearer(authorization) ? 'invalid_token' : undefined);
    return right === 'denied' ? denied : unknown;
  }

  async function keep(credential: string, right: AskedRight, repositories: readonly string[]): Promise<void> {
    if (right === 'allowed') await grants.remember(credential, repositories);
    else if (right === 'denied') await grants.forget(credential, repositories);
    else if (right === 'unauthenticated' && credential !== '') await grants.forget(credential);
  }

  /** Of a token that says nothing to us, whose it is, where it was fetched through this pool. */
  function knownCredential(authorization: string | undefined): string | undefined {
    if (authorization === undefined) return '';
    const credentials = readCredentials(authorization);
    if (credentials?.kind === 'basic') return credentialOf(credentials);
    return credentials === undefined ? undefined : issued.find(credentials.token)?.credential;
  }

  async function greet(authorization: string | undefined, client: string | undefined): Promise<Verdict> {
    if (isOwn(authorization)) return own;
    if (pool.auth.mode === 'open') return allowed;
    if (authorization === undefined) {
      return (await profile.challenge()).scheme === 'none' ? allowed : unauthenticated(undefined);
    }
    const credentials = readCredentials(authorization);
    if (credentials === undefined) return unauthenticated(undefined);
    if (credentials.kind === 'bearer') {
      const { kind } = await tokens.check(credentials.token);
      if (kind === 'good') return allowed;
      if (kind === 'bad') return unauthenticated(undefined, 'invalid_token');
    }
    const credential = knownCredential(authorization);
    let right: AskedRight;
    try {
      right = await rights.greet(authorization, client);
    } catch (error) {
      if (!isAway(error) || credential === undefined) throw error;
      if (await grants.has(credential)) return allowed;
      throw error;
    }
    if (credential !== undefined) await keep(credential, right, []);
    return right === 'allowed' ? allowed : unauthenticated(undefined);
  }

  const safely = async (answer: () => Promise<Verdict>): Promise<Verdict> => {
    try {
      return await answer();
    } catch (error) {
      if (error instanceof OriginUnavailable) return { outcome: 'unavailable', retryAfter: error.retryAfter };
      log.error({ err: error }, 'a request could not be decided and is refused');
      return { outcome: 'unavailable', retryAfter: 5 };
    }
  };

  return {
    decide: (request) => safely(() => decide(request)),
    greet: (authorization, client) => safely(() => greet(authorization, client)),
  };
}

/** The engine has read the path already; what reaches the origin in a path of ours is looked at once more. */
function isWellFormed({ repository, reference }: AccessRequest): boolean {
  return (
    isRepositoryName(repository) &&
    ('digest' in reference ? isDigest(reference.digest) : isTag(reference.tag))
  );
}

export function grantsPull(access: readonly Scope[], repository: string): boolean {
  return access.some(
    ({ type, name, actions }) =>
      type === 'repository' && name === repository && actions.some((action) => pulls.has(action)),
  );
}

const pulls = new Set(['pull', 'admin', '*']);

/** Patterns were checked by whoever read them; one that is none matches nothing. */
export function matcher(patterns: readonly string[]): (repository: string) => boolean {
  const globs = patterns
    .map((pattern) => compileRepositoryGlob(pattern))
    .filter((glob) => glob !== undefined);
  return (repository) => globs.some((glob) => glob(repository));
}

/** Compares hashes, which have one length and say nothing by the time that they take. */
function secretCheck(secret: string): (authorization: string | undefined) => boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = hash(`Bearer ${secret}`);
  return (authorization) => authorization !== undefined && timingSafeEqual(hash(authorization), expected);
}

function readCredentials(authorization: string): ReturnType<typeof parseAuthorization> | undefined {
  try {
    return parseAuthorization(authorization);
  } catch {
    return undefined;
  }
}

function isAway(error: unknown): boolean {
  return error instanceof OriginUnavailable && !error.answersOthers;
}

function isBearer(authorization: string | undefined): boolean {
  return /^bearer /i.test(authorization ?? '');
}
