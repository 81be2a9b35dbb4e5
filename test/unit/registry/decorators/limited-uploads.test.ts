import { Readable } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { limitedUploads } from '../../../../registry/decorators/limited-uploads.ts';
import { describeError } from '../../../../registry/http/answer-error.ts';
import { countUploads } from '../../../../registry/store/upload-count.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { expectCode } from '../../../suites/registry.ts';
import { createContext } from '../store/context.ts';

const max = 40;
const blob = Buffer.from('blob');
const flood = { owner: 'flood' };

let store: ObjectStore;
let lists: number;
let now: number;

beforeEach(() => {
  now = Date.now();
  lists = 0;
  const memory = createMemoryStore();
  store = {
    ...memory,
    list(options) {
      lists++;
      return memory.list(options);
    },
  };
});

/** One of several processes over one store. */
function createProcess(): Registry {
  const context = createContext(store, { clock: () => now });
  return limitedUploads(createStoredRegistry({ store, clock: () => now }), {
    max,
    count: (owner, limit) => countUploads(context, owner, limit),
    clock: () => now,
  });
}

async function openUntilRefused(processes: readonly Registry[], owner?: string): Promise<number> {
  for (let opened = 0; opened < 10 * max; opened++) {
    const registry = processes[opened % processes.length] as Registry;
    try {
      await registry.startUpload('team/app', owner === undefined ? {} : { owner });
    } catch (error) {
      expect(error).toMatchObject({ code: 'TOOMANYREQUESTS' });
      return opened;
    }
  }
  return Number.POSITIVE_INFINITY;
}

describe('a flood of upload sessions (registry.md 6, Resources)', () => {
  it('ends at the limit where one process sees all of it', async () => {
    expect(await openUntilRefused([createProcess()], 'flood')).toBe(max);
  });

  it('ends near the limit when it is spread over processes', async () => {
    const opened = await openUntilRefused([createProcess(), createProcess(), createProcess()], 'flood');
    expect(opened).toBeGreaterThanOrEqual(max);
    expect(opened).toBeLessThanOrEqual(max * (1 + 3 / 8));
  });

  it('ends for sessions without an owner too', async () => {
    expect(await openUntilRefused([createProcess()])).toBe(max);
  });

  it('stops nobody else', async () => {
    const registry = createProcess();
    await openUntilRefused([registry], 'flood');
    await registry.startUpload('team/app', { owner: 'honest' });
    await registry.startUpload('team/app');
  });

  it('is answered with 429 and the seconds after which to try again', async () => {
    const registry = createProcess();
    await openUntilRefused([registry], 'flood');
    const refusal: unknown = await registry.startUpload('team/app', flood).catch((error: unknown) => error);
    expect(describeError(refusal, () => 'id')).toMatchObject({ status: 429, headers: ['Retry-After', '10'] });
  });

  it('asks the store once while it is refused', async () => {
    const registry = createProcess();
    await openUntilRefused([registry], 'flood');
    const before = lists;
    for (let tries = 0; tries < 100; tries++) {
      await expectCode('TOOMANYREQUESTS', () => registry.startUpload('team/app', flood));
    }
    expect(lists).toBe(before);
  });

  it('is over when the sessions are finished or cancelled, on whatever process', async () => {
    const registry = createProcess();
    const other = createProcess();
    const ids: string[] = [];
    for (let opened = 0; opened < max; opened++) ids.push((await registry.startUpload('team/app', flood)).id);
    await expectCode('TOOMANYREQUESTS', () => registry.startUpload('team/app', flood));
    for (const [index, id] of ids.entries()) {
      if (index % 2 === 0) await other.cancelUpload('team/app', id, flood);
      else await other.finishUpload('team/app', id, digestOf(blob), Readable.from([blob]), flood);
    }
    now += 11_000;
    await registry.startUpload('team/app', flood);
  });

  it('is not what abandoned sessions of another day are', async () => {
    const registry = createProcess();
    await openUntilRefused([registry], 'flood');
    now += 25 * 60 * 60 * 1000;
    await registry.startUpload('team/app', flood);
  });
});

describe('honest uploads', () => {
  it('never make the store list anything, however many there are', async () => {
    const registry = createProcess();
    for (let upload = 0; upload < 5 * max; upload++) {
      const { id } = await registry.startUpload('team/app', { owner: 'ci' });
      await registry.finishUpload('team/app', id, digestOf(blob), Readable.from([blob]), { owner: 'ci' });
    }
    expect(lists).toBe(0);
  });
});
