import { beforeEach, describe, expect, it } from 'vitest';
import { createIsPool } from '../../../../cache-proxy/controller/pool-caller.ts';
import { createVoidTokenRoutes } from '../../../../cache-proxy/controller/void-tokens.ts';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { anonymous } from '../../../../core/auth/authorizer.ts';
import { createSigningKeys } from '../../../../core/auth/signing-keys.ts';
import { createTokens, type Tokens } from '../../../../core/auth/tokens.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const alice = { name: 'alice', anonymous: false };
const pull = (name: string) => ({ type: 'repository', name, actions: ['pull'] });

describe('POST /api/v1/pools/void-tokens', () => {
  let caller: string | undefined;
  let users: Map<string, string>;
  let rights: Set<string>;
  let clock: { now: number };
  let tokens: Tokens;
  let ask: (asked: readonly string[]) => Promise<{ status: number; body: unknown }>;

  beforeEach(() => {
    caller = 'pool-1';
    users = new Map([['alice', 'stored hash']]);
    rights = new Set(['team/app', 'team/lib']);
    clock = { now: Date.UTC(2030, 0, 1) };
    const now = (): number => clock.now;
    const keys = createSigningKeys({ store: createMemoryStore(), now });
    const passwords = { find: (name: string) => users.get(name), cost: () => 10 };
    tokens = createTokens({ keys, passwords, service: 'registry.test', ttl: 300, now });
    const authorizer = {
      may: (_principal: unknown, action: string, name: string) => action === 'pull' && rights.has(name),
    };
    const authenticator: Authenticator = {
      required: true,
      identify: async () => ({
        principal: caller === undefined ? anonymous : { name: caller, anonymous: false },
        authorizer,
      }),
    };
    const isPool = createIsPool(['pool-1'], authenticator);
    ask = async (asked) => {
      const http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
      await http.app.register(createVoidTokenRoutes({ tokens, authorizer, authenticator, http, isPool }));
      const payload = { tokens: asked };
      const answer = await http.app.inject({ method: 'POST', url: '/api/v1/pools/void-tokens', payload });
      await http.app.close();
      return { status: answer.statusCode, body: answer.json() };
    };
  });

  const issue = async (...names: string[]): Promise<string> =>
    (await tokens.issue(alice, names.map(pull))).token;

  it('calls none void whose account and rights are as they were', async () => {
    const asked = [await issue('team/app'), await issue('team/app', 'team/lib'), await issue()];

    expect(await ask(asked)).toEqual({ status: 200, body: { void: [] } });
  });

  it('finds those of an account that was removed, or has another password', async () => {
    const before = await issue('team/app');
    users.set('alice', 'another hash');
    const after = await issue('team/app');

    expect(await ask([after, before])).toEqual({ status: 200, body: { void: [1] } });
    users.delete('alice');
    expect(await ask([after, before])).toEqual({ status: 200, body: { void: [0, 1] } });
  });

  it('finds one that grants what no rule grants any more', async () => {
    const asked = [await issue('team/app'), await issue('team/app', 'team/lib')];
    rights.delete('team/lib');

    expect(await ask(asked)).toEqual({ status: 200, body: { void: [1] } });
  });

  it('finds expired ones and what is no token', async () => {
    const old = await issue('team/app');
    clock.now += 310_000;

    expect(await ask([old, 'x', '', await issue('team/app')])).toEqual({
      status: 200,
      body: { void: [0, 1, 2] },
    });
  });

  it('answers pools alone', async () => {
    caller = 'alice';
    expect(await ask([])).toMatchObject({ status: 403, body: { error: { code: 'DENIED' } } });
    caller = undefined;
    expect(await ask([])).toMatchObject({ status: 401 });
  });

  it('takes so many tokens at once and no more', async () => {
    expect((await ask(Array.from({ length: 200 }, () => 'x'))).status).toBe(200);
    expect((await ask(Array.from({ length: 201 }, () => 'x'))).status).toBe(400);
  });
});
