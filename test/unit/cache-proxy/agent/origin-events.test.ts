import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { type EventAnswer, followOriginEvents } from '../../../../cache-proxy/agent/origin-events.ts';
import type { ServerEvent } from '../../../../core/http/server-events.ts';

const silent = { info() {}, warn() {}, error() {} };

async function* textOf(...parts: string[]): AsyncGenerator<string> {
  for (const part of parts) {
    await turn();
    yield part;
  }
}

/** A connection on which nothing comes. */
async function* silence(signal: AbortSignal): AsyncGenerator<string> {
  const { promise, reject } = Promise.withResolvers<string>();
  signal.addEventListener('abort', () => reject(signal.reason as Error));
  yield await promise;
}

describe('events of the origin', () => {
  it('come as they are sent; after a break it connects again from where it was, and says that some may be missing', async () => {
    const heard: ServerEvent[] = [];
    const asked: string[] = [];
    let gaps = 0;
    const answers: EventAnswer[] = [
      { status: 200, text: textOf('id: 7\nevent: push\ndata: {"a"', ':1}\n\n') },
      { status: 502, text: textOf() },
      { status: 200, text: textOf('data: {}\n\n') },
    ];

    const events = followOriginEvents({
      open({ lastEventId, signal }) {
        asked.push(lastEventId);
        return Promise.resolve(answers.shift() ?? { status: 200, text: silence(signal) });
      },
      onEvent: (event) => heard.push(event),
      onGap: () => (gaps += 1),
      log: silent,
      retryMs: 1,
    });
    await vi.waitFor(() => expect(events.connected && asked.length).toBe(4));

    expect(heard.map(({ type, data }) => [type, data])).toEqual([
      ['push', '{"a":1}'],
      ['message', '{}'],
    ]);
    expect(asked.slice(0, 3)).toEqual(['', '7', '7']);
    expect(gaps).toBe(2);
    await events.close();
    expect(events.connected).toBe(false);
  });

  it('leaves an origin alone that has none', async () => {
    let asked = 0;
    const events = followOriginEvents({
      open() {
        asked += 1;
        return Promise.resolve({ status: 404, text: textOf() });
      },
      onEvent() {},
      log: silent,
      retryMs: 1,
    });
    await vi.waitFor(() => expect(asked).toBe(1));
    for (let turns = 0; turns < 20; turns += 1) await turn();

    expect(events.connected).toBe(false);
    expect(asked).toBe(1);
    await events.close();
  });

  it('takes a connection for dead that says nothing', async () => {
    const signals: AbortSignal[] = [];
    const events = followOriginEvents({
      open({ signal }) {
        signals.push(signal);
        return Promise.resolve({ status: 200, text: silence(signal) });
      },
      onEvent() {},
      log: silent,
      retryMs: 1,
      silenceMs: 5,
    });

    await vi.waitFor(() => expect(signals.length).toBeGreaterThan(1));

    expect(signals[0]?.aborted).toBe(true);
    await events.close();
  });
});
