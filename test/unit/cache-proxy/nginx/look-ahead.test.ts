import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BlobAnswer, BlobPiece } from '../../../../cache-proxy/fetch/fetch-blob.ts';
import {
  createLookAhead,
  type LookAhead,
  type PieceSource,
  type PieceWish,
} from '../../../../cache-proxy/nginx/look-ahead.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const size = 100;
const keepMs = 5_000;

/** What was asked of the origin; the test sends the bytes. */
interface Asked {
  readonly range: string;
  readonly source: PieceSource;
  readonly body: PassThrough;
  /** All but the last byte of it, in two parts. */
  almost(): void;
  finish(): void;
}

let total: number;
let asked: Asked[];
let cached: Set<string>;
let unwanted: [number, number][];
let answerStatus: number;
let lookAhead: LookAhead;
const own = { name: 'own' } as unknown as PieceSource;
const other = { name: 'other' } as unknown as PieceSource;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  total = 10 * size;
  asked = [];
  cached = new Set();
  unwanted = [];
  answerStatus = 206;
  lookAhead = createLookAhead({
    fetch: ask,
    isCached: (_digest, range) =>
      cached.has('unknown') ? Promise.reject(new Error('no')) : Promise.resolve(cached.has(range)),
    keepMs,
    // Whatever the machine does meanwhile.
    slowMs: 1_000_000,
    aheadMs: 1_000_000_000,
    drawMs: 0,
  });
});
afterEach(() => {
  lookAhead.close();
  vi.useRealTimers();
});

function ask(source: PieceSource, { range = '' }: BlobPiece): Promise<BlobAnswer> {
  const [first = 0, nominal = 0] = (/(\d+)-(\d+)/.exec(range) ?? []).slice(1).map(Number);
  const last = Math.min(nominal, total - 1);
  const body = new PassThrough();
  const bytes = Buffer.from(Array.from({ length: last - first + 1 }, (_, at) => (first + at) % 251));
  let sent = 0;
  const send = (to: number): void => {
    if (to > sent) body.write(bytes.subarray(sent, to));
    sent = Math.max(sent, to);
  };
  asked.push({
    range,
    source,
    body,
    almost() {
      send(1);
      send(bytes.length - 1);
    },
    finish() {
      send(bytes.length);
      body.end();
    },
  });
  const headers = { 'content-range': `bytes ${first}-${last}/${total}` };
  return Promise.resolve({ status: answerStatus, headers, body });
}

const rangeOf = (index: number): string => `bytes=${index * size}-${(index + 1) * size - 1}`;
const ranges = (): string[] => asked.map(({ range }) => range);
const askedFor = (index: number): Asked => {
  const found = asked.find(({ range }) => range === rangeOf(index));
  if (found === undefined) throw new Error(`piece ${index} was not asked for`);
  return found;
};

function want(
  index: number,
  changes: Partial<PieceWish> & { source?: PieceSource } = {},
): Promise<BlobAnswer> {
  const { source = own, ...wish } = changes;
  return lookAhead.fetch(source, {
    piece: { repository: 'team/app', digest, range: rangeOf(index) },
    prewarm: false,
    record: () => (status, bytes) => unwanted.push([status, bytes]),
    ...wish,
  });
}

/** Whatever follows without the clock has happened. */
async function settled(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await turn();
}

async function pull(index: number, changes: Parameters<typeof want>[1] = {}): Promise<Buffer> {
  const body = buffer((await want(index, changes)).body);
  askedFor(index).almost();
  askedFor(index).finish();
  const whole = await body;
  await settled();
  return whole;
}

/** nginx has piece 0, and all of piece 1 but its end. */
async function nearEndOfSecond(
  changes: Parameters<typeof want>[1] = {},
): Promise<{ readonly body: Promise<Buffer> }> {
  await pull(0, changes);
  const body = buffer((await want(1, changes)).body);
  body.catch(() => {});
  askedFor(1).almost();
  await settled();
  return { body };
}

describe('looking ahead of nginx', () => {
  it('asks for the next piece before the present one has ended, and hands it on', async () => {
    const second = await nearEndOfSecond();
    expect(ranges()).toEqual([0, 1, 2].map(rangeOf));

    askedFor(1).finish();
    await second.body;
    const third = buffer((await want(2)).body);
    askedFor(2).almost();
    askedFor(2).finish();

    expect([...(await third)]).toEqual(Array.from({ length: size }, (_, at) => (2 * size + at) % 251));
    await settled();
    expect(ranges().filter((range) => range === rangeOf(2))).toHaveLength(1);
    expect(unwanted).toEqual([]);
  });

  it('goes on with a few pieces, one after another, while nginx is late', async () => {
    const second = await nearEndOfSecond();
    for (let index = 1; index < 8; index += 1) {
      if (!ranges().includes(rangeOf(index))) break;
      askedFor(index).almost();
      await settled();
      expect(ranges().slice(index + 2)).toEqual([]);
      askedFor(index).finish();
      await settled();
    }
    await second.body;

    expect(ranges()).toEqual([0, 1, 2, 3, 4, 5].map(rangeOf));
    for (let index = 2; index < 10; index += 1) {
      const body = buffer((await want(index)).body);
      askedFor(index).almost();
      askedFor(index).finish();
      await body;
      await settled();
    }
    expect(ranges()).toEqual(Array.from({ length: 10 }, (_, index) => rangeOf(index)));
  });

  it('takes nothing of a piece from the line before the former one has ended', async () => {
    const second = await nearEndOfSecond();
    askedFor(2).almost();
    await settled();
    expect(askedFor(2).body.readableLength).toBe(size - 1);

    askedFor(1).finish();
    await second.body;
    await settled();

    expect(askedFor(2).body.readableLength).toBe(0);
  });

  it('asks for nothing behind the end', async () => {
    total = 2 * size + 10;
    const second = await nearEndOfSecond();
    askedFor(1).finish();
    await second.body;
    const third = buffer((await want(2)).body);
    askedFor(2).almost();
    await settled();
    askedFor(2).finish();
    await third;
    await settled();

    expect(ranges()).toEqual([0, 1, 2].map(rangeOf));
  });

  it.each([
    ['a part that ends here', `bytes=0-${2 * size - 1}`, 2],
    ['a part that ends in the next piece', `bytes=0-${2 * size}`, 3],
    ['the rest', 'bytes=5-', 3],
    ['the last bytes', 'bytes=-900', 3],
    ['several parts', 'bytes=0-1,5-900', 2],
  ])('goes as far as the client wants to: %s', async (_, wanted, pieces) => {
    await nearEndOfSecond({ wanted });

    expect(ranges()).toHaveLength(pieces);
  });

  it('asks for nothing that nginx has, or may have', async () => {
    cached.add(rangeOf(2));
    await nearEndOfSecond();
    expect(ranges()).toEqual([0, 1].map(rangeOf));
  });

  it('asks for nothing where it cannot be seen what nginx has', async () => {
    cached.add('unknown');
    await nearEndOfSecond();
    expect(ranges()).toEqual([0, 1].map(rangeOf));
  });

  it('asks for nothing that is on its way, or has just come', async () => {
    await pull(2);
    await nearEndOfSecond();
    expect(ranges()).toEqual([2, 0, 1].map(rangeOf));
  });

  it('asks for nothing ahead of who reads here and there, or prewarms', async () => {
    const alone = await want(4);
    askedFor(4).almost();
    await settled();
    alone.body.destroy();
    await nearEndOfSecond({ prewarm: true });

    expect(ranges()).toEqual([4, 0, 1].map(rangeOf));
  });

  it('keeps nothing for ever: what nobody came for is let go, and told of', async () => {
    const second = await nearEndOfSecond();
    askedFor(1).finish();
    await second.body;
    askedFor(2).almost();
    await settled();
    expect(askedFor(2).body.destroyed).toBe(false);

    vi.advanceTimersByTime(keepMs);
    await settled();

    expect(askedFor(2).body.destroyed).toBe(true);
    expect(unwanted).toContainEqual([206, size - 1]);
    await want(2);
    expect(ranges().filter((range) => range === rangeOf(2))).toHaveLength(2);
  });

  it('lets the next piece go where the present one breaks', async () => {
    const second = await nearEndOfSecond();

    askedFor(1).body.destroy(new Error('the line broke'));

    await expect(second.body).rejects.toThrow('the line broke');
    await settled();
    expect(askedFor(2).body.destroyed).toBe(true);
    expect(unwanted).toEqual([[206, 0]]);
  });

  it('does not hand on what broke', async () => {
    const second = await nearEndOfSecond();
    askedFor(1).finish();
    await second.body;
    askedFor(2).body.destroy(new Error('the line broke'));
    await settled();

    await want(2);

    expect(ranges().filter((range) => range === rangeOf(2))).toHaveLength(2);
  });

  it('does not hand on an answer that is no piece', async () => {
    await pull(0);
    const second = await want(1);
    second.body.resume();
    answerStatus = 404;
    askedFor(1).almost();
    await settled();
    expect(ranges()).toHaveLength(3);
    expect(unwanted).toEqual([[404, 0]]);
    answerStatus = 206;

    expect((await want(2)).status).toBe(206);
  });

  it('hands on nothing to who asks another registry', async () => {
    await nearEndOfSecond();

    await want(2, { source: other });

    expect(asked.map(({ source }) => source)).toEqual([own, own, own, other]);
  });

  it('lets go what is kept when other connections are in force, or the pool ends', async () => {
    const second = await nearEndOfSecond();

    lookAhead.letGo();
    askedFor(1).finish();
    await second.body;
    await settled();

    expect(askedFor(2).body.destroyed).toBe(true);
    expect(ranges()).toHaveLength(3);
  });

  it('says that the origin is away to who came for what it does not answer', async () => {
    const away = Promise.withResolvers<BlobAnswer>();
    const asking = createLookAhead({
      fetch: (source, piece) => (piece.range === rangeOf(2) ? away.promise : ask(source, piece)),
      isCached: () => Promise.resolve(false),
      slowMs: 1_000_000,
      aheadMs: 1_000_000_000,
      drawMs: 0,
    });
    const wish = (index: number): PieceWish => ({
      piece: { repository: 'team/app', digest, range: rangeOf(index) },
      prewarm: false,
      record: () => (status, bytes) => unwanted.push([status, bytes]),
    });
    for (const index of [0, 1]) {
      const body = buffer((await asking.fetch(own, wish(index))).body);
      askedFor(index).almost();
      await settled();
      askedFor(index).finish();
      await body;
    }

    const third = asking.fetch(own, wish(2));
    away.reject(new Error('away'));

    await expect(third).rejects.toThrow('away');
    expect(unwanted).toEqual([]);
    asking.close();
  });
});
