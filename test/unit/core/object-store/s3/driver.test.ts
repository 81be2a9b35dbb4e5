import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  ObjectStoreFull,
  ObjectStoreUnavailable,
  PreconditionFailed,
} from '../../../../../core/object-store/object-store.ts';
import { createS3Driver, type S3Store } from '../../../../../core/object-store/s3/driver.ts';
import type { RequestEvent, Wire } from '../../../../../core/object-store/s3/requests.ts';
import { createMemoryWire, type MemoryWire, s3Error } from '../../../../helpers/memory-wire.ts';

let memory: MemoryWire;
let store: S3Store;
let events: RequestEvent[];

function open(wire: Partial<Wire> = {}): S3Store {
  const options = { bucket: 'b', prefix: '/p/', backoffMs: 1, maxAttempts: 3 };
  return createS3Driver(
    { ...options, onRequest: (event) => events.push(event) },
    { ...memory, wire: { ...memory.wire, ...wire } },
  );
}

beforeEach(() => {
  events = [];
  memory = createMemoryWire();
  store = open();
});

describe('a conditional write to S3', () => {
  it('finds out once how the store spells ETags', async () => {
    const { etag } = await store.put('a', Buffer.from('1'));
    const second = await store.put('a', Buffer.from('2'), { ifMatch: etag });
    const before = memory.log.length;

    await store.put('a', Buffer.from('3'), { ifMatch: second.etag });
    await expect(store.put('a', Buffer.from('4'), { ifMatch: second.etag })).rejects.toThrow(
      PreconditionFailed,
    );

    expect(store.etagSpelling).toBe('bare');
    expect(memory.log.length - before).toBe(2);
  });

  it('is not taken for lost when another one finds out the spelling meanwhile', async () => {
    const [one, two] = [await store.put('one', Buffer.from('1')), await store.put('two', Buffer.from('1'))];
    // The quoted spelling of the second is refused only after the first one went through.
    let through = (): void => {};
    const first = new Promise<void>((resolve) => {
      through = resolve;
    });
    const slow = open({
      put: async (key, body, options) => {
        if (key.endsWith('two') && options.ifMatch?.startsWith('"') === true) await first;
        return memory.wire.put(key, body, options);
      },
    });
    const second = slow.put('two', Buffer.from('2'), { ifMatch: two.etag });
    await slow.put('one', Buffer.from('2'), { ifMatch: one.etag });
    through();

    await expect(second).resolves.toHaveProperty('etag');
  });

  it('keeps quotes where the store wants them, also when the first one is lost', async () => {
    const quoted = open({
      put: (key, body, { ifMatch, ...rest }) => {
        if (ifMatch !== undefined && !ifMatch.startsWith('"')) throw s3Error('InvalidArgument', 400);
        return memory.wire.put(key, body, {
          ...rest,
          ...(ifMatch === undefined ? {} : { ifMatch: ifMatch.slice(1, -1) }),
        });
      },
    });
    const { etag } = await quoted.put('a', Buffer.from('1'));

    await expect(quoted.put('a', Buffer.from('2'), { ifMatch: 'old' })).rejects.toThrow(PreconditionFailed);
    await quoted.put('a', Buffer.from('2'), { ifMatch: etag });

    expect(quoted.etagSpelling).toBe('quoted');
    expect(memory.objects.get('p/a')?.body.toString()).toBe('2');
  });

  it.each([
    ['500', s3Error('InternalError', 500)],
    ['409', s3Error('ConditionalRequestConflict', 409)],
    ['503', s3Error('SlowDown', 503)],
    ['a broken connection', Object.assign(new Error('reset'), { code: 'ECONNRESET' })],
  ])('is sent once whatever happens: %s', async (_, error) => {
    let sent = 0;
    memory.before = () => {
      sent++;
      throw error;
    };

    await expect(store.put('a', Buffer.from('1'), { ifNoneMatch: '*' })).rejects.toThrow(
      ObjectStoreUnavailable,
    );
    await expect(store.put('a', Buffer.from('1'), { ifMatch: 'e' })).rejects.toThrow(ObjectStoreUnavailable);

    expect(sent).toBe(2);
  });

  it('on nothing is refused, be it 404 or 412', async () => {
    for (const error of [s3Error('NoSuchKey', 404), s3Error('PreconditionFailed', 412)]) {
      memory.before = () => {
        throw error;
      };
      await expect(store.put('a', Buffer.from('1'), { ifMatch: 'e' })).rejects.toThrow(PreconditionFailed);
    }
  });

  it('to a bucket that is gone is no lost race', async () => {
    memory.before = () => {
      throw s3Error('NoSuchBucket', 404);
    };

    await expect(store.put('a', Buffer.from('1'), { ifMatch: 'e' })).rejects.toThrow(/there is no bucket/);
  });
});

describe('other requests to S3', () => {
  it('are sent again as often as the policy says, and counted', async () => {
    memory.before = () => {
      throw s3Error('InternalError', 500);
    };

    await expect(store.get('a')).rejects.toThrow(ObjectStoreUnavailable);
    memory.before = () => {};
    await store.put('a', Buffer.from('12345'));
    await store.get('a');
    await store.get('b');

    expect(events.map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual([
      'get error',
      'get error',
      'get error',
      'put ok',
      'get ok',
      'get missing',
    ]);
    expect(events.slice(3, 5)).toMatchObject([{ sentBytes: 5 }, { receivedBytes: 5 }]);
  });

  it('are not sent again when that cannot help, and say that the store is full', async () => {
    memory.before = () => {
      throw s3Error('XMinioStorageFull', 507);
    };

    await expect(store.put('a', Buffer.from('1'))).rejects.toThrow(ObjectStoreFull);
    expect(events).toHaveLength(1);
  });

  it('never give a body that is too short', async () => {
    const short = (length: number) =>
      open({
        get: async (key, options) => {
          const whole = await memory.wire.get(key, options);
          return { ...whole, body: Readable.from([(await buffer(whole.body)).subarray(0, length)]) };
        },
      });
    await store.put('a', Buffer.from('0123456789'));

    await expect(short(4).get('a')).rejects.toThrow(/4 of 10 bytes/);
    const stream = await short(0).getStream('a');
    await expect(stream && buffer(stream.body)).rejects.toThrow(ObjectStoreUnavailable);
    const patient = await short(4).getStream('a');
    expect(patient && (await buffer(patient.body)).toString()).toBe('0123456789');
  });

  it('list on through pages that are empty, as after mass deletion', async () => {
    let pages = 0;
    const sparse = open({
      list: async (options) => {
        if (++pages < 4) return { objects: [], prefixes: [], token: `t${pages}` };
        expect(options.token).toBe('t3');
        return { objects: [{ key: 'p/z', size: 1, modified: new Date(0) }], prefixes: [], token: undefined };
      },
    });

    const page = await sparse.list({ prefix: '' });

    expect(page.objects.map(({ key }) => key)).toEqual(['z']);
    expect(page.next).toBeUndefined();
  });

  it('tell when some of many keys could not be deleted', async () => {
    const refusing = open({ deleteMany: async ([key = '']) => [{ key, code: 'AccessDenied' }] });

    await expect(refusing.deleteMany(['a', 'b'])).rejects.toThrow(
      /1 keys could not be deleted: AccessDenied/,
    );
    await open({ deleteMany: async ([key = '']) => [{ key, code: 'NoSuchKey' }] }).deleteMany(['a']);
  });

  it('cannot leave the prefix', async () => {
    await expect(store.get('../x')).rejects.toThrow(TypeError);
    await expect(store.deleteMany(['a', 'b//c'])).rejects.toThrow(TypeError);
    await store.put('a', Buffer.from('1'));
    memory.objects.set('p2/a', { body: Buffer.from('x'), etag: 'e', modified: new Date() });

    expect([...memory.objects.keys()]).toEqual(['p/a', 'p2/a']);
    expect((await store.list({ prefix: '' })).objects.map(({ key }) => key)).toEqual(['a']);
    expect(store.address).toBe('s3://b/p/');
  });
});
