import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createOriginClient,
  type OriginClient,
  type OriginRequest,
  type OriginState,
  OriginUnavailable,
} from '../../../cache-proxy/agent/origin-client.ts';
import type { Origin } from '../../../cache-proxy/pools/pool.ts';
import { freePort } from '../../helpers/free-port.ts';
import { type PoolOrigin, startPoolOrigin } from '../../helpers/pool-origin.ts';

const question: OriginRequest = { method: 'HEAD', target: '/v2/team/app/manifests/v1' };

/** As `health.ts` has it, without its asking on its own. */
function rememberingState(): OriginState & { readonly reasons: string[] } {
  let away = false;
  const reasons: string[] = [];
  return {
    reasons,
    hurry: undefined,
    asking: () => () => {},
    get away() {
      return away;
    },
    answered() {
      away = false;
    },
    failed(reason) {
      away = true;
      reasons.push(reason);
    },
  };
}

describe('questions to an origin', () => {
  let origin: PoolOrigin;
  let state: ReturnType<typeof rememberingState>;
  let clients: OriginClient[];
  beforeEach(async () => {
    origin = await startPoolOrigin();
    state = rememberingState();
    clients = [];
  });
  afterEach(async () => {
    for (const client of clients) client.close();
    await origin.close();
  });
  const open = (change: Partial<Origin> = {}): OriginClient => {
    const client = createOriginClient({ origin: { urls: [origin.url], ...change }, state });
    clients.push(client);
    return client;
  };
  const failure = async (client: OriginClient): Promise<OriginUnavailable> => {
    const error: unknown = await client.ask(question).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OriginUnavailable);
    return error as OriginUnavailable;
  };

  it.each([200, 401, 403, 404])('%d is an answer', async (status) => {
    origin.rule = () => ({ status });

    expect((await open().ask(question)).status).toBe(status);
    expect(state.away).toBe(false);
  });

  it.each([
    ['refuses', async () => origin.refuse()],
    ['hangs', async () => void (origin.rule = () => ({ hang: true }))],
    ['answers 500 to everybody', async () => void (origin.rule = () => ({ status: 500 }))],
    ['answers 503 to everybody', async () => void (origin.rule = () => ({ status: 503 }))],
    ['answers 429 to everybody', async () => void (origin.rule = () => ({ status: 429 }))],
  ])('one that %s is away, and nobody waits for it a second time', async (_, misbehave) => {
    await misbehave();
    const client = open();

    const { answersOthers } = await failure(client);
    const asked = origin.seen.length;
    await failure(client);

    expect(answersOthers).toBe(false);
    expect(state.reasons).toHaveLength(1);
    expect(origin.seen.length).toBe(asked);
  });

  it('one that has no answer only to this question is not away', async () => {
    for (const status of [429, 500, 503]) {
      origin.rule = ({ path }) => (path === '/v2/' ? undefined : { status, headers: { 'retry-after': '7' } });

      const error = await failure(open());

      expect(error).toMatchObject({ answersOthers: true, retryAfter: 7 });
    }
    expect(state.reasons).toEqual([]);
  });

  it('one that is slow with this question alone gets more time, and is not away when that ends', async () => {
    origin.rule = ({ path }) => (path === '/v2/' ? undefined : { hang: true });

    expect(await failure(open())).toMatchObject({ answersOthers: true });
    expect(state.away).toBe(false);
  });

  it('goes to the next replica, and stays there', async () => {
    const client = open({ urls: [`http://127.0.0.1:${await freePort()}`, origin.url] });

    expect((await client.ask(question)).status).toBe(404);
    expect((await client.ask(question)).status).toBe(404);
    expect(state.reasons).toEqual([]);
  });

  it('asks again where the connection was closed while it was idle', async () => {
    const client = open();
    await client.ask(question);
    await origin.refuse();
    await origin.accept();

    expect((await client.ask(question)).status).toBe(404);
  });

  it('sends Basic for the pool, and nothing for anybody else', async () => {
    const client = open({ credential: { username: 'pool', password: 'secret' } });

    await client.ask(question);
    await client.askAsPool(question, 'repository:team/app:pull');

    expect(origin.seen.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      `Basic ${Buffer.from('pool:secret').toString('base64')}`,
    ]);
  });

  it('fetches a token for the pool where the origin wants one, and keeps it', async () => {
    const asked: string[] = [];
    const service = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization}`);
      response.end(JSON.stringify({ token: 'abc', expires_in: 300 }));
    });
    service.listen(0, '127.0.0.1');
    await once(service, 'listening');
    const realm = `http://127.0.0.1:${(service.address() as AddressInfo).port}/token`;
    origin.rule = ({ headers }) =>
      headers.authorization === 'Bearer abc'
        ? undefined
        : {
            status: 401,
            headers: {
              'www-authenticate': `Bearer realm="${realm}",service="s",scope="repository:team/app:pull"`,
            },
          };
    const client = open();

    const answers = [
      await client.askAsPool(question, 'repository:team/app:pull'),
      await client.askAsPool(question, 'repository:team/app:pull'),
    ];

    expect(answers.map(({ status }) => status)).toEqual([404, 404]);
    expect(asked).toEqual(['/token?service=s&scope=repository%3Ateam%2Fapp%3Apull undefined']);
    service.closeAllConnections();
    service.close();
    await once(service, 'close');
  });

  it('finds out that it is back, also while nobody may ask', async () => {
    const client = open();
    await origin.refuse();
    await failure(client);

    await expect(client.probe(AbortSignal.timeout(5_000))).rejects.toThrow();
    await origin.accept();
    await client.probe(AbortSignal.timeout(5_000));
    origin.rule = () => ({ hang: true });
    await expect(client.probe(AbortSignal.timeout(50))).rejects.toThrow();
  });
});
