import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { type ObjectStore, ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import {
  buryRecord,
  encodeRecord,
  encodeTombstone,
  type RecordHeader,
  readRecord,
  replaceRecord,
  tombstoneSize,
} from '../../../../registry/store/record.ts';
import { createContext } from './context.ts';

interface Note extends RecordHeader {
  readonly state: 'note';
  readonly text: string;
}

const absent = { etag: undefined };
const note = (text: string) => ({ state: 'note', text }) as const;

describe('record bodies', () => {
  it('begin with state and nonce, and only a tombstone has 64 bytes', () => {
    const nonce = 'a'.repeat(32);

    const tombstone = encodeTombstone(nonce);
    const shortest = encodeRecord({ state: 'x', nonce: '' });
    const usual = encodeRecord({ nonce, state: 'note' } as Note, Buffer.from('payload'));

    expect(tombstone).toHaveLength(tombstoneSize);
    expect(tombstoneSize).toBe(64);
    expect(shortest.length).toBeGreaterThan(tombstoneSize);
    expect(usual.toString()).toMatch(/^\{"state":"note","nonce":"a{32}"/);
    expect(usual.toString().endsWith('\npayload')).toBe(true);
  });

  it('are read back with their payload, tombstones and absent keys without a header', async () => {
    const context = createContext(createMemoryStore());

    const first = await replaceRecord<Note>(context, 'k', absent, note('one'), {
      payload: Buffer.from('\n{}\n'),
    });
    const read = await readRecord<Note>(context, 'k');

    expect(read).toMatchObject({ etag: first?.etag, header: { state: 'note', text: 'one' } });
    expect(read.payload.toString()).toBe('\n{}\n');
    expect(await buryRecord(context, 'k', read)).toBe(true);
    expect(await readRecord(context, 'k')).toMatchObject({ header: undefined, etag: expect.any(String) });
    expect(await readRecord(context, 'other')).toMatchObject({ header: undefined, etag: undefined });
  });

  it('are read whole when their header is longer than what is read first', async () => {
    const context = createContext(createMemoryStore());
    await replaceRecord<Note>(context, 'k', absent, note('x'.repeat(5000)));

    const read = await readRecord<Note>(context, 'k', { headerOnly: true });

    expect(read.header?.text).toHaveLength(5000);
  });
});

describe('replaceRecord', () => {
  it('loses to whoever changed the record since, also where nothing was', async () => {
    const context = createContext(createMemoryStore());
    const first = await replaceRecord<Note>(context, 'k', absent, note('one'));

    expect(await replaceRecord<Note>(context, 'k', absent, note('two'))).toBeUndefined();
    expect(await replaceRecord<Note>(context, 'k', first ?? absent, note('one'))).toBeDefined();
    expect(await replaceRecord<Note>(context, 'k', first ?? absent, note('two'))).toBeUndefined();
    expect(await buryRecord(context, 'k', first ?? absent)).toBe(false);
  });

  it.each([
    ['wins when the write was lost on the way', ['lost'], 'ours'],
    ['wins when only the answer was lost', ['applied'], 'ours'],
    ['wins when answer after answer was lost', ['applied', 'lost', 'lost'], 'ours'],
    ['loses when somebody else came between', ['overtaken'], 'theirs'],
    ['loses when somebody replaced what had landed', ['applied', 'replaced'], 'theirs'],
  ] as const)('%s', async (_, faults, winner) => {
    const store = createMemoryStore();
    const plain = createContext(store);
    const start = await replaceRecord<Note>(plain, 'k', absent, note('start'));
    const context = createContext(withFaults(store, faults));

    const result = await replaceRecord<Note>(context, 'k', start ?? absent, note('ours'));

    const now = await readRecord<Note>(plain, 'k');
    expect(now.header?.text).toBe(winner);
    expect(result?.etag).toBe(winner === 'ours' ? now.etag : undefined);
  });

  it('raises ObjectStoreUnavailable when the outcome stays unknown', async () => {
    const context = createContext(withFaults(createMemoryStore(), Array<Fault>(50).fill('lost')));

    await expect(replaceRecord<Note>(context, 'k', absent, note('x'))).rejects.toThrow(
      ObjectStoreUnavailable,
    );
  });
});

type Fault = 'lost' | 'applied' | 'overtaken' | 'replaced';

/** Every fault befalls one put: it does not arrive, its answer does not, or another writer comes before or after it. */
function withFaults(store: ObjectStore, faults: readonly Fault[]): ObjectStore {
  const left = [...faults];
  const theirs = encodeRecord({ state: 'note', nonce: 'b'.repeat(32), text: 'theirs' } as RecordHeader);
  return {
    ...store,
    async put(key, body, options) {
      const fault = left.shift();
      if (fault === undefined) return store.put(key, body, options);
      if (fault === 'applied') await store.put(key, body, options);
      if (fault === 'overtaken' || fault === 'replaced') await store.put(key, theirs);
      throw new ObjectStoreUnavailable('no answer');
    },
  };
}
