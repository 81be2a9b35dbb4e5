import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { EngineLog } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { type AgentHandlers, createAgentHandlers } from './agent-handlers.ts';
import { createAskedRights } from './asked-rights.ts';
import { createGate, type PoolGate } from './create-gate.ts';
import { createGivenTokens } from './given-tokens.ts';
import { createGrants, type Grants } from './grants.ts';
import { createIssuedTokens } from './issued-tokens.ts';
import { createLiveTokens } from './live-tokens.ts';
import { createMemberships, type Memberships } from './memberships.ts';
import {
  createOriginClient,
  createPlainState,
  type OriginClient,
  type OriginState,
} from './origin-client.ts';
import { createOriginProfile } from './origin-profile.ts';
import { createPoolKey } from './pool-key.ts';
import { createPrivateFile } from './private-file.ts';
import { createTokenChecker } from './token-checker.ts';
import { createTokenRealm } from './token-realm.ts';

export interface PoolAccessDeps {
  readonly pool: Pool;
  readonly log: EngineLog;
  /** Of the pool's own origin; default: away for three seconds after each failure. Upstreams always have one of their own. */
  readonly state?: OriginState;
  /** Default: over HTTP. */
  readonly connect?: typeof createOriginClient;
  /** Put around the gate that engine and nginx ask, e.g. to count its verdicts. */
  readonly observe?: (gate: PoolGate) => PoolGate;
  /** Bearer token of the process' own requests; default random. */
  readonly secret?: string;
  /** Of `grants.ts`. */
  readonly hashCost?: number;
  readonly now?: () => number;
}

/** Everything that decides who may have what in one pool, wired together. */
export interface PoolAccess {
  readonly gate: PoolGate;
  readonly handlers: AgentHandlers;
  /** Questions to the pool's own origin. */
  readonly origin: OriginClient;
  /** Authorization of the process' own requests through the engine's listener. */
  readonly authorization: string;
  /** What the origin took away. */
  readonly forget: Memberships['forget'];
  /** Writes what is remembered, and ends the asking. */
  close(): void;
}

/** Errors: those of reading and writing in `pool.folder`, and of the files that `pool` names. */
export function createPoolAccess(deps: PoolAccessDeps): PoolAccess {
  const { pool, log, connect = createOriginClient, observe = (gate) => gate, now = Date.now } = deps;
  const { state = createPlainState(now) } = deps;
  const folder = join(pool.folder, 'agent');
  const fileOf = (name: string) => createPrivateFile(join(folder, name));
  const origin = connect({ origin: pool.origin, state });
  const upstreams = new Map(
    pool.upstreams.map((upstream) => [
      upstream.ns,
      connect({ origin: upstream, state: createPlainState(now) }),
    ]),
  );
  const profile = createOriginProfile({ client: origin, file: fileOf('origin.json'), log, now });
  const poolKey = createPoolKey(pool.name, fileOf('token-key.pem'), now);
  const { hashCost } = deps;
  const given = createGivenTokens(now);
  const remembered = createGrants({
    file: fileOf('grants.json'),
    log,
    grace: pool.auth.offlineGrace,
    now,
    ...(hashCost === undefined ? {} : { cost: hashCost }),
  });
  const grants: Grants = {
    ...remembered,
    async forget(credential, repositories) {
      given.forget(credential);
      await remembered.forget(credential, repositories);
    },
  };
  const memberships = createMemberships({
    hurry: () => state.hurry,
    clientOf: (ns) => (ns === undefined ? origin : upstreams.get(ns)),
    file: fileOf('memberships'),
    path: join(folder, 'memberships'),
    log,
    now,
  });
  const issued = createIssuedTokens();
  const tokens = createLiveTokens({
    client: origin,
    state,
    read: createTokenChecker({ profile, poolKey, now }),
    log,
    // Whose rights changed is let in again by the origin alone.
    onVoid(token) {
      const about = issued.find(token);
      if (about === undefined || about.credential === '') return;
      grants.forget(about.credential, about.repositories).catch(() => {});
    },
    now,
  });
  const { secret = randomBytes(32).toString('base64url') } = deps;
  const rights = createAskedRights({ client: origin, state, now });
  const gate = observe(
    createGate({ pool, profile, tokens, rights, memberships, grants, issued, secret, log }),
  );
  const token = createTokenRealm({
    pool,
    client: origin,
    state,
    profile,
    tokens,
    grants,
    given,
    issued,
    poolKey,
    log,
    addressOf,
    now,
  });
  return {
    gate,
    handlers: createAgentHandlers({ gate, token, addressOf }),
    origin,
    authorization: `Bearer ${secret}`,
    forget: (what) => memberships.forget(what),
    close() {
      tokens.close();
      grants.close();
      memberships.close();
      origin.close();
      for (const client of upstreams.values()) client.close();
    },
  };
}

/** Only the engine reaches the agent's listener, and it says whom it asks for; what a client wrote there itself it has replaced. */
function addressOf({ headers }: IncomingMessage): string | undefined {
  const address = headers['x-pool-client'] ?? headers['x-forwarded-for'];
  return typeof address === 'string' && isIP(address) !== 0 ? address : undefined;
}
