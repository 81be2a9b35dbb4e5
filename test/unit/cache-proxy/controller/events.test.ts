import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createOriginEventRoutes, originTopic } from '../../../../cache-proxy/controller/events.ts';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { createEventBus, type EventBus } from '../../../../core/events.ts';
import { createHttpServer, type HttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';

const push = (repository: string) => ({
  action: 'push',
  repository,
  digest: 'sha256:00',
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  size: 7,
  tags: ['v1'],
});

describe('GET /api/v1/pools/events', () => {
  let events: EventBus;
  let http: HttpServer;
  let isPool: boolean;
  let streams: Readable[];

  beforeEach(async () => {
    events = createEventBus();
    isPool = true;
    streams = [];
    http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
    const authenticator: Authenticator = {
      required: true,
      identify: async () => ({
        principal: { name: 'pool-1', anonymous: false },
        authorizer: { may: (_principal, action, name) => action === 'pull' && name.startsWith('team/') },
      }),
    };
    await http.app.register(
      createOriginEventRoutes({ events, authenticator, http, isPool: () => isPool, heartbeatMs: 20 }),
    );
  });
  afterEach(async () => {
    for (const stream of streams) stream.destroy();
    await http.app.close();
  });

  async function listen(): Promise<(text: string) => Promise<string>> {
    const answer = await http.app.inject({ url: '/api/v1/pools/events', payloadAsStream: true });
    const stream = answer.stream();
    streams.push(stream);
    let heard = '';
    const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    return async (text) => {
      while (!heard.includes(text)) {
        const { value, done } = await chunks.next();
        if (done === true) return heard;
        heard += value.toString();
      }
      return heard;
    };
  }

  it('tells in order what was pushed and deleted, after a greeting', async () => {
    const until = await listen();
    await until('event: hello\n');

    events.publish(originTopic, push('team/app'));
    events.publish(originTopic, { action: 'untag', repository: 'team/app', tag: 'v1' });

    const heard = await until('event: untag');
    expect(heard).toContain(`event: push\ndata: ${JSON.stringify(push('team/app'))}\n\nevent: untag\n`);
  });

  it('tells nothing of repositories that the pool may not pull, and nothing that is no event', async () => {
    const until = await listen();
    await until('event: hello\n');

    events.publish(originTopic, push('secret/app'));
    events.publish(originTopic, { action: 'explode', repository: 'team/app' });
    events.publish(originTopic, 'text');
    events.publish(originTopic, push('team/last'));

    expect(await until('team/last')).not.toMatch(/secret|explode|text/);
  });

  it('says now and then that it is still there', async () => {
    const until = await listen();

    expect(await until(': still here\n\n')).toContain('event: hello');
  });

  it('cuts off a reader who is too far behind', async () => {
    const until = await listen();
    await until('event: hello\n');

    for (let count = 0; count < 1_002; count += 1) events.publish(originTopic, push('team/app'));

    await until('never said');
  });

  it('is for pools alone', async () => {
    isPool = false;

    const answer = await http.app.inject({ url: '/api/v1/pools/events' });

    expect(answer.statusCode).toBe(403);
    expect(answer.json()).toMatchObject({ error: { code: 'DENIED' } });
  });
});
