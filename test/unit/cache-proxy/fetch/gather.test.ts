import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { gather } from '../../../../cache-proxy/fetch/gather.ts';

let source: PassThrough;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  source = new PassThrough();
});
afterEach(() => vi.useRealTimers());

/** What comes, as long as it does; the error, where one ends it. */
function reading(options: Parameters<typeof gather>[1]): { seen: string[]; ended: Promise<unknown> } {
  const seen: string[] = [];
  const read = async (): Promise<unknown> => {
    try {
      for await (const chunk of gather(source, options)) seen.push(chunk.toString());
      return 'whole';
    } catch (error) {
      return error;
    }
  };
  return { seen, ended: read() };
}

async function settled(): Promise<void> {
  for (let round = 0; round < 10; round += 1) await turn();
}

describe('chunks of a slow link', () => {
  it('are joined until there are enough of them', async () => {
    const { seen } = reading({ bytes: 4, ms: 5 });
    for (const chunk of ['a', 'b', 'c']) source.write(chunk);
    await settled();
    expect(seen).toEqual([]);

    source.write('de');
    await settled();

    expect(seen).toEqual(['abcde']);
  });

  it('wait for others only so long', async () => {
    const { seen } = reading({ bytes: 4, ms: 5 });
    for (const chunk of ['a', 'b']) {
      source.write(chunk);
      await settled();
    }
    expect(seen).toEqual([]);

    vi.advanceTimersByTime(5);
    await settled();

    expect(seen).toEqual(['ab']);
  });

  it('come in their order, and whole', async () => {
    const { seen, ended } = reading({ bytes: 10, ms: 5 });
    const text = Array.from({ length: 100 }, (_, index) => `${index},`);
    for (const each of text) source.write(each);
    source.end();

    expect(await ended).toBe('whole');
    expect(seen.join('')).toBe(text.join(''));
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that came before the line broke come before the error', async () => {
    const { seen, ended } = reading({ bytes: 10, ms: 5 });
    source.write('ab');
    await settled();
    source.destroy(new Error('broke'));

    expect(await ended).toMatchObject({ message: 'broke' });
    expect(seen).toEqual(['ab']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of a line that broke before anybody read are an error', async () => {
    source.on('error', () => {});
    source.destroy(new Error('broke'));
    await settled();

    expect(await reading({}).ended).toMatchObject({ message: 'broke' });
  });

  it('stop the line while nobody takes them', async () => {
    const chunks = gather(source, { bytes: 10, ms: 5 });
    source.write('0123456789');
    await chunks.next();
    for (let round = 0; round < 100; round += 1) source.write('0123456789');
    await settled();

    expect(source.readableLength + source.writableLength).toBeGreaterThanOrEqual(980);
    await chunks.return(undefined);
    expect(source.destroyed).toBe(true);
  });
});
