import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  MultipartBusy,
  type MultipartState,
  MultipartUnknown,
  type MultipartWriter,
  ObjectStoreUnavailable,
} from '../../../../../core/object-store/object-store.ts';
import { createS3Driver, type S3Store } from '../../../../../core/object-store/s3/driver.ts';
import { createMemoryWire, type MemoryWire, s3Error } from '../../../../helpers/memory-wire.ts';

const key = 'data/ab/1';
const part = 100;

let memory: MemoryWire;
let store: S3Store;
/** The same bucket at another server. */
let other: S3Store;

function openDriver(wire: MemoryWire): S3Store {
  const options = {
    bucket: 'b',
    firstPartBytes: part,
    uploadBufferBytes: 4000,
    backoffMs: 1,
    maxAttempts: 3,
  };
  return createS3Driver(options, wire);
}

beforeEach(() => {
  memory = createMemoryWire({ minimumPart: part });
  store = openDriver(memory);
  other = openDriver(memory);
});

const json = (state: MultipartState): MultipartState => JSON.parse(JSON.stringify(state)) as MultipartState;
const object = () => memory.objects.get(key)?.body;
/** Objects and uploads that are not the upload's own object. */
const leftovers = () => [...memory.objects.keys(), ...memory.uploads.keys()].filter((name) => name !== key);
const requests = (operation: string) => memory.log.filter((line) => line.startsWith(`${operation} `)).length;

async function append(
  at: S3Store,
  state: MultipartState,
  bytes: Buffer,
  options?: Parameters<MultipartWriter['checkpoint']>[0],
): Promise<MultipartState> {
  const writer = await at.multipart.resume(key, json(state));
  try {
    for (let start = 0; start < bytes.length; start += 37) {
      await writer.write(Buffer.from(bytes.subarray(start, start + 37)));
    }
    return await writer.checkpoint(options);
  } finally {
    await writer.close();
  }
}

describe('an upload to S3', () => {
  it.each([1, part - 1])('of %d bytes is one request, and completing it none', async (size) => {
    const bytes = randomBytes(size);

    const state = await append(store, await store.multipart.create(key), bytes, { last: true });
    const before = memory.log.length;
    await store.multipart.complete(key, json(state));

    expect(object()?.equals(bytes)).toBe(true);
    expect(memory.log.slice(0, before)).toEqual([`put ${key}`]);
    expect(memory.log.slice(before)).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it('signs a single request with the checksum that it was told, so that the store refuses other bytes', async () => {
    const bytes = randomBytes(part - 1);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const wrong = createHash('sha256').update('other').digest('hex');
    const state = await store.multipart.create(key);

    await expect(append(store, state, bytes, { last: true, sha256: wrong })).rejects.toThrow(
      'XAmzContentSHA256Mismatch',
    );
    expect(object()).toBeUndefined();
    await append(store, await store.multipart.create(key), bytes, { last: true, sha256 });

    expect(object()?.equals(bytes)).toBe(true);
  });

  it.each([part, part + 1, 3 * part, 3 * part + 50])(
    'of %d bytes is its parts and one request to begin and end',
    async (size) => {
      const bytes = randomBytes(size);

      const state = await append(store, await store.multipart.create(key), bytes, { last: true });
      await store.multipart.complete(key, json(state));

      expect(object()?.equals(bytes)).toBe(true);
      expect(requests('uploadPart')).toBe(Math.ceil(size / part));
      expect(memory.log).toHaveLength(Math.ceil(size / part) + 2);
      expect(leftovers()).toEqual([]);
    },
  );

  it('goes through all sizes of parts', async () => {
    const bytes = randomBytes(1000 * part + 3 * 4 * part + 7);

    const state = await append(store, await store.multipart.create(key), bytes, { last: true });
    await store.multipart.complete(key, json(state));

    expect(object()?.equals(bytes)).toBe(true);
    expect(requests('uploadPart')).toBe(1004);
  });

  it.each([
    [[10, 20, 30]],
    [[99, 1, 1, 250, 3]],
    [[part, part, part]],
    [[350, 1, 0, 120]],
    [Array.from({ length: 150 }, () => 3)],
  ])('may come in requests of %j bytes, each at another server', async (sizes) => {
    const bytes = randomBytes(sizes.reduce((sum, size) => sum + size));
    for (const last of [false, true]) {
      let state = await store.multipart.create(key);
      let at = 0;

      for (const [index, size] of sizes.entries()) {
        const server = index % 2 === 0 ? store : other;
        state = await append(server, state, bytes.subarray(at, at + size), { last });
        at += size;
        expect(state.offset).toBe(at);
      }
      await other.multipart.complete(key, json(state));
      await store.multipart.complete(key, json(state));

      expect(object()?.equals(bytes)).toBe(true);
      expect(leftovers()).toEqual([]);
      memory.objects.clear();
    }
  });

  it('of small chunks makes small pieces, which are read again once and merged when they are many', async () => {
    let state = await store.multipart.create(key);
    for (let index = 0; index < 90; index++) {
      state = await append(store, state, Buffer.from([index]));
      expect(JSON.stringify(state).length).toBeLessThan(65 * 60);
    }

    await store.multipart.complete(key, state);

    expect(object()).toEqual(Buffer.from(Array.from({ length: 90 }, (_, index) => index)));
    expect(requests('put')).toBe(90 + 1 + 1);
  });

  it('is not read back before it is complete, yet can be gone on with after it was read', async () => {
    const bytes = randomBytes(5 * part + 40);
    let state = await append(store, await store.multipart.create(key), bytes.subarray(0, 2 * part + 30));

    const first = await buffer(await other.multipart.read(key, json(state)));
    state = await append(store, state, bytes.subarray(2 * part + 30, 2 * part + 90));
    const second = await buffer(await other.multipart.read(key, json(state)));
    state = await append(other, state, bytes.subarray(2 * part + 90));
    const third = await buffer(await store.multipart.read(key, json(state)));
    await store.multipart.complete(key, json(state));

    expect(first.equals(bytes.subarray(0, 2 * part + 30))).toBe(true);
    expect(second.equals(bytes.subarray(0, 2 * part + 90))).toBe(true);
    expect(third.equals(bytes)).toBe(true);
    expect(object()?.equals(bytes)).toBe(true);
    expect(leftovers()).toEqual([]);
  });

  it('is read back while its writer is about to go on', async () => {
    const bytes = randomBytes(6 * part);
    const state = await append(store, await store.multipart.create(key), bytes.subarray(0, 250));
    const writer = await store.multipart.resume(key, state);

    const seen = await buffer(await store.multipart.read(key, state));
    await writer.write(Buffer.from(bytes.subarray(250)));
    const end = await writer.checkpoint({ last: true });
    await writer.close();
    await store.multipart.complete(key, end);

    expect(seen.equals(bytes.subarray(0, 250))).toBe(true);
    expect(object()?.equals(bytes)).toBe(true);
  });

  it('goes on after a crash: parts that nobody recorded are replaced by themselves', async () => {
    const bytes = randomBytes(9 * part + 5);
    const begun = await append(store, await store.multipart.create(key), bytes.subarray(0, 3 * part));
    const crashed = await store.multipart.resume(key, json(begun));
    await crashed.write(Buffer.from(bytes.subarray(3 * part, 8 * part + 20)));

    const state = await append(other, begun, bytes.subarray(3 * part), { last: true });
    await other.multipart.complete(key, state);

    expect(object()?.equals(bytes)).toBe(true);
    await crashed.close();
  });

  it('keeps what was safe once, and writes nothing twice, where a checkpoint need not be whole', async () => {
    const bytes = randomBytes(4 * part + 50);
    const writer = await store.multipart.resume(key, await store.multipart.create(key));
    await writer.write(Buffer.from(bytes.subarray(0, 20)));
    const first = await writer.checkpoint();
    let arrive = (): void => {};
    const held = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    memory.before = (operation) => (operation === 'uploadPart' ? held : undefined);
    const writing = writer.write(Buffer.from(bytes.subarray(20, 2 * part)));
    await writing;

    const second = await writer.checkpoint({ whole: false });
    arrive();
    const rest = await append(other, second, bytes.subarray(second.offset), { last: true });
    await other.multipart.complete(key, rest);

    expect([first.offset, second.offset]).toEqual([20, 20]);
    expect(requests('put')).toBe(1);
    expect(object()?.equals(bytes)).toBe(true);
    await writer.close();
  });

  it('with two writers of other bytes never completes with bytes of both', async () => {
    const mine = Buffer.alloc(4 * part + 10, 'm');
    const theirs = Buffer.alloc(4 * part + 10, 't');
    const begun = await append(store, await store.multipart.create(key), Buffer.alloc(2 * part + 1, 'b'));

    const [won] = await Promise.all([
      append(store, begun, mine, { last: true }),
      append(other, begun, theirs, { last: true }),
    ]);
    const completed = await store.multipart.complete(key, json(won)).then(
      () => true,
      (error: unknown) => error,
    );

    if (completed === true) {
      expect(
        object()
          ?.subarray(2 * part + 1)
          .equals(mine),
      ).toBe(true);
    } else {
      expect(completed).toBeInstanceOf(MultipartUnknown);
      expect(object()).toBeUndefined();
    }
  });

  it('whose small object another writer took first still becomes its own bytes', async () => {
    const begun = await store.multipart.create(key);
    await append(other, begun, Buffer.from('their'), { last: true });

    const state = await append(store, begun, Buffer.from('mine!'), { last: true });
    await store.multipart.complete(key, json(state));
    await other.multipart.complete(key, json(state));

    expect(object()?.toString()).toBe('mine!');
    expect(leftovers()).toEqual([]);
  });

  it('that was written in one request lands once, however late an earlier sending arrives', async () => {
    const late: (() => Promise<unknown>)[] = [];
    const { wire } = memory;
    const slow = createS3Driver(
      { bucket: 'b', firstPartBytes: part, backoffMs: 1 },
      {
        ...memory,
        wire: {
          ...memory.wire,
          async put(...args) {
            if (late.length > 0) return wire.put(...args);
            const body = Buffer.from(args[1]);
            late.push(() => wire.put(args[0], body, args[2]));
            throw s3Error('InternalError', 500);
          },
        },
      },
    );
    let state = await append(slow, await slow.multipart.create(key), Buffer.from('short'), { last: true });
    state = await append(store, state, Buffer.from(' and long'));
    await store.multipart.complete(key, json(state));

    await expect(late[0]?.()).rejects.toThrow('PreconditionFailed');

    expect(object()?.toString()).toBe('short and long');
  });

  it('never goes on from what another writer put there when its parts are gone', async () => {
    const begun = await store.multipart.create(key);
    await append(other, begun, Buffer.alloc(part - 1, 't'), { last: true });
    const state = await append(store, begun, Buffer.alloc(2 * part + 5, 'm'));
    for await (const upload of store.multipart.incomplete()) await upload.abort();

    await expect(store.multipart.complete(key, json(state))).rejects.toThrow(MultipartUnknown);
    await expect(append(store, state, Buffer.alloc(3 * part), { last: true })).rejects.toThrow(
      MultipartUnknown,
    );
  });

  it('may be told to another server while it goes on', async () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 60; round++) {
      memory = createMemoryWire({ minimumPart: part });
      memory.before = async () => {
        for (let turns = random(6); turns > 0; turns--) await new Promise(setImmediate);
      };
      const [first, second] = [openDriver(memory), openDriver(memory)];
      const bytes = randomBytes(random(1200) + 1);
      const writer = await first.multipart.resume(key, await first.multipart.create(key));
      const told: Promise<[number, MultipartState]>[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = Math.min(bytes.length - at, random(90) + 1);
        await writer.write(Buffer.from(bytes.subarray(at, at + size)));
        at += size;
        if (random(3) > 0) continue;
        const goal = at;
        told.push(writer.checkpoint().then((state) => [goal, json(state)]));
      }
      const states = await Promise.all(told);
      await writer.close();

      for (const [goal, state] of states) expect(state.offset).toBe(goal);
      const [, state] = states[random(Math.max(1, states.length))] ?? [0, await second.multipart.create(key)];
      const end = await append(second, state, bytes.subarray(state.offset), { last: random(2) === 0 });
      await second.multipart.complete(key, end);
      expect(object()?.equals(bytes), `round ${round}`).toBe(true);
    }
  });

  it('is completed once by many at the same time', async () => {
    const bytes = randomBytes(3 * part + 50);
    const states = await Promise.all([
      append(store, await store.multipart.create(key), bytes, { last: true }),
      (async () => {
        const at = createMemoryWire();
        return { at, state: await append(openDriver(at), await store.multipart.create(key), bytes) };
      })(),
    ]);

    await Promise.all([store, other, store].map((at) => at.multipart.complete(key, json(states[0]))));

    expect(object()?.equals(bytes)).toBe(true);
  });

  it.each(['uploadPart', 'createUpload', 'completeUpload', 'put', 'get', 'copyPart', 'deleteMany'] as const)(
    'takes failures of %s, carried out or not',
    async (failing) => {
      const bytes = randomBytes(4 * part + 30);
      let count = 0;
      const fail = (operation: string) => {
        if (operation === failing && ++count % 2 === 1) throw s3Error('InternalError', 500);
      };
      for (const moment of ['before', 'after'] as const) {
        memory = createMemoryWire({ minimumPart: part });
        store = openDriver(memory);
        memory[moment] = fail;

        let state = await append(store, await store.multipart.create(key), bytes.subarray(0, 42));
        state = await append(store, state, bytes.subarray(42, 250), { last: true });
        state = await append(store, state, bytes.subarray(250), { last: true });
        await store.multipart.complete(key, json(state));

        expect(object()?.equals(bytes)).toBe(true);
      }
    },
  );

  it('says so when the store gives no answer, and leaves the session as it was', async () => {
    const begun = await append(store, await store.multipart.create(key), randomBytes(150));
    memory.before = (operation) => {
      if (operation === 'uploadPart') throw s3Error('InternalError', 500);
    };
    const writer = await store.multipart.resume(key, begun);

    await expect(
      (async () => {
        await writer.write(Buffer.alloc(500));
        await writer.checkpoint();
      })(),
    ).rejects.toThrow(ObjectStoreUnavailable);
    await writer.close();
    memory.before = () => {};

    const state = await append(store, begun, Buffer.from('x'));
    await store.multipart.complete(key, state);
    expect(object()).toHaveLength(151);
  });

  it('that is dropped leaves nothing, whatever its state knew of', async () => {
    const created = await store.multipart.create(key);
    const state = await append(store, created, randomBytes(250));
    await append(store, created, randomBytes(30));

    await store.multipart.abort(key, created);
    await store.multipart.abort(key, json(state));
    await store.multipart.abort(key, json(state));

    expect([...memory.objects.keys(), ...memory.uploads.keys()]).toEqual([]);
    await expect(store.multipart.complete(key, json(state))).rejects.toThrow(MultipartUnknown);
  });

  it('that nobody finished is told, and can be dropped', async () => {
    await append(store, await store.multipart.create(key), randomBytes(250));

    const found = [];
    for await (const upload of store.multipart.incomplete()) found.push(upload);
    await found[0]?.abort();
    await found[0]?.abort();

    expect(found.map((upload) => upload.key)).toEqual([key]);
    expect(memory.uploads.size).toBe(0);
  });

  it('has one writer at a time within a server', async () => {
    const state = await store.multipart.create(key);
    const writer = await store.multipart.resume(key, state);

    await expect(store.multipart.resume(key, state)).rejects.toThrow(MultipartBusy);
    await writer.close();
    await (await store.multipart.resume(key, state)).close();
  });

  it('puts a part away that fills slowly when others wait for memory, and nobody waits for ever', async () => {
    const tight = createS3Driver(
      { bucket: 'b', firstPartBytes: 1000, uploadBufferBytes: 3000, slowMs: 20, backoffMs: 1 },
      memory,
    );
    const slow = await Promise.all(
      ['1', '2', '3'].map(async (name) => {
        const writer = await tight.multipart.resume(
          `data/${name}`,
          await tight.multipart.create(`data/${name}`),
        );
        await writer.write(Buffer.from(name));
        return writer;
      }),
    );

    const state = await append(tight, await tight.multipart.create(key), Buffer.alloc(2500, 'f'), {
      last: true,
    });
    await tight.multipart.complete(key, state);
    const ends = await Promise.all(
      slow.map(async (writer, index) => {
        await writer.write(Buffer.from('!'));
        const end = await writer.checkpoint({ last: true });
        await writer.close();
        await tight.multipart.complete(`data/${index + 1}`, end);
        return memory.objects.get(`data/${index + 1}`)?.body.toString();
      }),
    );

    expect(object()).toEqual(Buffer.alloc(2500, 'f'));
    expect(ends).toEqual(['1!', '2!', '3!']);
  });

  it('survives any sequence of requests, checkpoints, crashes and servers', async () => {
    let seed = 1;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 150; round++) {
      const strictParts = random(2) === 0;
      memory = createMemoryWire({ minimumPart: part, strictParts });
      const servers = [openDriver(memory), openDriver(memory)];
      const server = (): S3Store => servers[random(2)] as S3Store;
      const bytes = randomBytes(random(900) + 1);
      let state = await server().multipart.create(key);
      const crashed: MultipartWriter[] = [];

      while (state.offset < bytes.length) {
        const writer = await server()
          .multipart.resume(key, json(state))
          .catch(() => undefined);
        if (writer === undefined) {
          await crashed.at(-1)?.close();
          continue;
        }
        let at = state.offset;
        const steps = random(6) + 1;
        for (let step = 0; step < steps && at < bytes.length; step++) {
          const size = Math.min(bytes.length - at, random(200));
          await writer.write(Buffer.from(bytes.subarray(at, at + size)));
          at += size;
          if (random(4) === 0) state = json(await writer.checkpoint({ whole: random(2) === 0 }));
        }
        const end = random(4);
        if (end === 0) {
          crashed.push(writer);
          continue;
        }
        state = json(await writer.checkpoint({ last: end > 1 && at === bytes.length }));
        await writer.close();
        if (random(6) === 0) {
          const seen = await buffer(await server().multipart.read(key, state));
          expect(seen.equals(bytes.subarray(0, state.offset))).toBe(true);
        }
      }
      for (const writer of crashed) await writer.close();
      await server().multipart.complete(key, state);
      await server().multipart.complete(key, state);
      expect(object()?.equals(bytes), `round ${round}`).toBe(true);
    }
  });
});
