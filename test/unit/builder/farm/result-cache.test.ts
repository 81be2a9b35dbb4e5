import { describe, expect, it } from 'vitest';
import {
  createResultCache,
  forgetResults,
  type ResultRequest,
  resultKey,
} from '../../../../builder/farm/result-cache.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { JobFailed, type JobRecord } from '../../../../core/queue/job-queue.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { planOf } from '../plan/plan-fixture.ts';

const image = digestOf('image');
const key = digestOf('key');

function createTest(store: ObjectStore = createMemoryStore()) {
  const jobs = new Map<string, Partial<JobRecord>>();
  const gone = new Set<Digest>();
  const waited: string[] = [];
  const cache = createResultCache({
    store,
    jobs: { get: async (id) => jobs.get(id) as JobRecord | undefined },
    isThere: async (_, digest) => !gone.has(digest),
    pollMs: 1,
    silentMs: 50,
  });
  const once = (build: string, make: () => Promise<Digest>, request: Partial<ResultRequest> = {}) =>
    cache.once(
      {
        repository: 'team/app',
        key,
        build,
        fresh: false,
        signal: new AbortController().signal,
        onWait: (other) => void waited.push(other),
        ...request,
      },
      async () => ({ digest: await make() }),
    );
  return { store, jobs, gone, waited, once };
}

/** Something that ends when it is told to. */
function createGate<T>() {
  let open: (value: T) => void = () => {};
  let fail: (error: Error) => void = () => {};
  let begin: () => void = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const result = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return {
    begun,
    open: (value: T) => open(value),
    fail: (error: Error) => fail(error),
    pass: () => {
      begin();
      return result;
    },
  };
}

describe('createResultCache', () => {
  it('makes an image once for a key, and knows it from then on', async () => {
    const { once } = createTest();

    expect(await once('a', async () => image)).toEqual({ made: { digest: image } });
    expect(await once('b', () => Promise.reject(new Error('made twice')))).toEqual({
      known: { digest: image, build: 'a' },
    });
  });

  it('keeps repositories, keys and scopes apart', async () => {
    const { once } = createTest();
    await once('a', async () => image);

    for (const request of [{ repository: 'other/app' }, { key: digestOf('other') }, { scope: 'untrusted' }]) {
      const other = digestOf(JSON.stringify(request));
      expect(await once('b', async () => other, request)).toEqual({ made: { digest: other } });
    }
  });

  it('makes it again when the image has gone, or somebody asks for that', async () => {
    const { once, gone } = createTest();
    const second = digestOf('second');
    await once('a', async () => image);

    expect(await once('b', async () => second, { fresh: true })).toEqual({ made: { digest: second } });
    // What this very build has made before its worker died is fresh enough.
    expect(await once('b', async () => image, { fresh: true })).toEqual({
      known: { digest: second, build: 'b' },
    });
    gone.add(second);
    expect(await once('c', async () => image)).toEqual({ made: { digest: image } });
  });

  it('waits for the build that is just making it', async () => {
    const { once, jobs, waited } = createTest();
    const gate = createGate<Digest>();
    jobs.set('a', { state: 'running', lease: { owner: '', fence: 1, expiresAt: '1' } });
    const first = once('a', gate.pass);
    await gate.begun;
    const second = once('b', () => Promise.reject(new Error('made twice')));
    // Its lease is renewed while it runs.
    let renewals = 0;
    jobs.set('a', {
      state: 'running',
      get lease() {
        renewals += 1;
        if (renewals === 200) gate.open(image);
        return { owner: '', fence: 1, expiresAt: String(renewals) };
      },
    });

    expect(await second).toEqual({ known: { digest: image, build: 'a' } });
    expect(await first).toEqual({ made: { digest: image } });
    expect(waited).toEqual(['a']);
  });

  it.each<[string, Partial<JobRecord> | undefined]>([
    ['has failed', { state: 'failed' }],
    ['waits for another worker', { state: 'queued' }],
    ['is forgotten', undefined],
    ['is silent', { state: 'running', lease: { owner: '', fence: 1, expiresAt: '1' } }],
  ])('makes it itself when the build that it waits for %s', async (_, job) => {
    const { once, jobs } = createTest();
    const gate = createGate<Digest>();
    const first = once('a', gate.pass);
    await gate.begun;
    if (job !== undefined) jobs.set('a', job);

    expect(await once('b', async () => image)).toEqual({ made: { digest: image } });

    // The first comes late, and takes nothing from the second.
    gate.open(digestOf('late'));
    await first;
    expect(await once('c', async () => image)).toEqual({ known: { digest: image, build: 'b' } });
  });

  it('lets all that waited fail at the same time, rather than one behind the other', async () => {
    const { once, jobs, waited } = createTest();
    const gate = createGate<Digest>();
    jobs.set('a', { state: 'running' });
    const first = once('a', gate.pass).catch((error: unknown) => error);
    await gate.begun;
    let running = 0;
    const meeting = createGate<Digest>();
    const others = ['b', 'c', 'd'].map((build) =>
      once(build, () => {
        running += 1;
        if (running === 3) meeting.fail(new JobFailed('it fails'));
        return meeting.pass();
      }).catch((error: unknown) => error),
    );
    jobs.set('a', { state: 'failed' });
    gate.fail(new JobFailed('it fails'));

    expect(await Promise.all([first, ...others])).toEqual(Array(4).fill(new JobFailed('it fails')));
    expect(waited.every((build) => build === 'a')).toBe(true);
  });

  it('stops waiting when its own build is stopped', async () => {
    const { once, jobs } = createTest();
    const gate = createGate<Digest>();
    void once('a', gate.pass);
    await gate.begun;
    jobs.set('a', { state: 'running', lease: { owner: '', fence: 1, expiresAt: '1' } });
    const stop = new AbortController();
    const waiting = once('b', async () => image, { signal: stop.signal });
    stop.abort();

    await expect(waiting).rejects.toThrow('aborted');
  });

  it('forgets what is old, and only that', async () => {
    const { once, store } = createTest();
    await once('a', async () => image);
    const now = Date.now();

    expect(await forgetResults(store, 60_000, now)).toBe(0);
    expect(await once('b', async () => image)).toHaveProperty('known');
    expect(await forgetResults(store, 60_000, now + 120_000)).toBe(1);
    expect(await once('b', async () => image)).toHaveProperty('made');
  });
});

it('names a result by its plan, the tests in it included, and its files', async () => {
  const plan = await planOf(
    'appname: app\nbase: nodejs:26\nbuild: make\ntest: make check\nentrypoints: {web: {cmd: x}}\n',
  );
  const step = plan.test;
  const keys = [
    resultKey(plan, 'tree'),
    resultKey(plan, 'other tree'),
    resultKey(
      step === undefined ? plan : { ...plan, test: { ...step, commands: ['make check-all'] } },
      'tree',
    ),
  ];

  expect(new Set(keys).size).toBe(keys.length);
  expect(resultKey(plan, 'tree')).toBe(keys[0]);
});
