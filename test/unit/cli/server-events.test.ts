import { describe, expect, it } from 'vitest';
import { followBuildLog } from '../../../cli/follow-build-log.ts';
import { ServerAway } from '../../../cli/server-away.ts';
import { parseServerEvents, type ServerEvent } from '../../../core/http/server-events.ts';
import { UserError } from '../../../core/user-error.ts';

async function* partsOf(text: string, size: number): AsyncGenerator<string> {
  for (let start = 0; start < text.length; start += size) yield text.slice(start, start + size);
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

it.each([1, 2, 3, 1000])('events are the same in parts of %i characters', async (size) => {
  const text =
    ': hello\nretry: 1000\n\nid: 1-2\ndata: one\ndata:  two\n\ndata:\n\nevent: end\ndata: {}\r\n\r\nid: 9\ndata: cut off\n';

  expect(await collect(parseServerEvents(partsOf(text, size)))).toEqual([
    { id: '1-2', type: 'message', data: 'one\n two' },
    { id: '1-2', type: 'message', data: '' },
    { id: '1-2', type: 'end', data: '{}' },
  ]);
});

describe('a followed log', () => {
  /** Each connection gives some events and breaks. */
  function serverOf(connections: readonly (readonly ServerEvent[] | Error)[]) {
    const asked: string[] = [];
    return {
      asked,
      async *events(_path: string, after: string): AsyncGenerator<ServerEvent> {
        const connection = connections[asked.length] ?? [];
        asked.push(after);
        if (connection instanceof Error) throw connection;
        yield* connection;
      },
    };
  }
  const message = (id: string, data: string): ServerEvent => ({ id, type: 'message', data });
  const end: ServerEvent = { id: '', type: 'end', data: '{"state":"succeeded"}' };

  it('is asked for again behind its last line, and told about once', async () => {
    const api = serverOf([[message('1-2', 'a\nb')], new ServerAway('away'), [message('1-3', 'c'), end]]);
    const lost: string[] = [];
    const lines = followBuildLog({ api, id: 'x', retryMs: 1, onLost: (reason) => void lost.push(reason) });
    const all: string[] = [];
    let next = await lines.next();
    for (; next.done !== true; next = await lines.next()) all.push(next.value);

    expect(all).toEqual(['a', 'b', 'c']);
    expect(next.value).toEqual({ state: 'succeeded' });
    expect(api.asked).toEqual(['', '1-2', '1-2']);
    expect(lost).toHaveLength(1);
  });

  it('ends with the error of a server that refuses, or that stays away', async () => {
    const refused = followBuildLog({ api: serverOf([new UserError('no such build')]), id: 'x' });
    await expect(refused.next()).rejects.toThrow('no such build');
    const away = followBuildLog({ api: serverOf([new ServerAway('away')]), id: 'x', patienceMs: -1 });
    await expect(away.next()).rejects.toThrow('away');
  });
});
