import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import {
  CollectionRefused,
  CollectorBusy,
  type CollectorOptions,
  createCollector,
} from '../../../../registry/collect/collector.ts';
import { takeLease } from '../../../../registry/collect/lease.ts';
import { blobReferenceKey, uploadKey } from '../../../../registry/store/paths.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { emptyConfig, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys } from '../store/context.ts';
import { type CollectFixture, createFixture, day, hour } from './fixture.ts';

const repository = 'team/app';
const safe = async () => ({ collectionSafe: true, reasons: [] });
const large = (text: string) => Buffer.alloc(10_000, text);

describe('a collector', () => {
  let fixture: CollectFixture;
  beforeEach(() => {
    fixture = createFixture();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const open = (overrides: Partial<CollectorOptions> = {}) =>
    createCollector({
      store: fixture.store,
      probe: safe,
      holder: 'test',
      log: { info: () => {}, warn: () => {} },
      graceMs: 0,
      intervalMs: 1000,
      fullIntervalMs: 7 * day,
      rate: 0,
      ...overrides,
    });
  /** Two images that share a layer. */
  const pushImages = async () =>
    (
      await pushContent(fixture.registry, {
        [repository]: {
          blobs: { base: large('base'), one: large('one'), two: large('two') },
          manifests: {
            first: { layers: ['base', 'one'] },
            second: { layers: ['base', 'two'] },
          },
          tags: { v1: 'first', v2: 'second' },
        },
      })
    )[repository];
  const dataCount = async () => (await allKeys(fixture.store, 'data/')).length;
  const read = async (text: string) =>
    buffer((await fixture.registry.getBlob(repository, digestOf(large(text)))).body);

  it('follows the hints of a delete: what only that image needed goes, what another one needs stays', async () => {
    const { first, second } = (await pushImages()).manifests;
    const collector = open();
    await collector.run({ full: true });
    await fixture.registry.deleteManifest(repository, first.digest);

    const report = await collector.run();

    expect(report).toMatchObject({ mode: 'hints', complete: true, errors: 0 });
    expect(report.blobs).toMatchObject({ examined: 3, deleted: 1, deletedBytes: 10_000 });
    expect(await allKeys(fixture.store, 'gcq/new/')).toEqual([]);
    await expectCode('BLOB_UNKNOWN', () => read('one'));
    expect(await read('base')).toEqual(large('base'));
    expect((await fixture.registry.getManifest(repository, 'v2')).bytes).toEqual(second.bytes);
    await pushImages();
    expect(await read('one')).toEqual(large('one'));
  });

  it('comes back when the grace period is over, to what a run before it condemned', async () => {
    const { first } = (await pushImages()).manifests;
    const collector = open({ graceMs: day });
    await fixture.registry.deleteManifest(repository, first.digest);

    const condemning = await collector.run({ full: false });
    expect(condemning.blobs).toMatchObject({ condemned: 1, deleted: 0 });
    expect(condemning.nextDue).toBeDefined();
    expect(await allKeys(fixture.store, 'gcq/due/')).toHaveLength(1);
    fixture.advance(day - 1);
    expect((await collector.run({ full: false })).blobs).toMatchObject({ examined: 0 });
    fixture.advance(1);

    const deleting = await open({ graceMs: day }).run({ full: false });

    expect(deleting.blobs).toMatchObject({ deleted: 1, deletedBytes: 10_000 });
    expect(await allKeys(fixture.store, 'gcq/due/')).toEqual([]);
  });

  it('a full scan finds what no hint tells of, and leaves what is referenced without reading it', async () => {
    await pushImages();
    await fixture.registry.putBlob(repository, digestOf(large('never used')), large('never used'));
    fixture.calls();

    const report = await open().run({ full: true });

    expect(report.blobs).toMatchObject({ examined: 1, deleted: 1 });
    const reads = fixture.calls().filter((call) => call.startsWith('get blobs/'));
    expect(reads.length).toBe(1);
    expect(await dataCount()).toBe(3);
  });

  it('without an order it scans everything at first, and again when that is too long ago', async () => {
    const collector = open();
    expect((await collector.run()).mode).toBe('full');
    expect((await collector.run()).mode).toBe('hints');
    fixture.advance(7 * day);
    expect((await open().run()).mode).toBe('full');
  });

  it('a full scan drops references that no push stands behind, and then the blob', async () => {
    await fixture.registry.putBlob(repository, digestOf(large('lost')), large('lost'));
    const manifest = digestOf('a manifest');
    const reference = blobReferenceKey(digestOf(large('lost')), manifest, 'a'.repeat(32), repository);
    await fixture.store.put(reference, Buffer.alloc(0));

    const report = await open().run({ full: true });

    expect(report.references).toMatchObject({ dropped: 1 });
    expect(report.blobs).toMatchObject({ deleted: 1 });
    expect(await allKeys(fixture.store, 'refs/')).toEqual([]);
  });

  it('a full scan leaves blobs alone that were pushed a moment ago', async () => {
    await fixture.registry.putBlob(repository, digestOf(large('new')), large('new'));
    expect((await open({ graceMs: day }).run({ full: true })).blobs).toMatchObject({ examined: 0 });
    fixture.advance(hour);
    expect((await open({ graceMs: day }).run({ full: true })).blobs).toMatchObject({ condemned: 1 });
  });

  it('many blobs are scanned in ranges, none is left out and none too many goes', async () => {
    const kept = await pushImages();
    for (let index = 0; index < 1100; index++) {
      const bytes = Buffer.from(`blob ${index}`);
      await fixture.registry.putBlob(repository, digestOf(bytes), bytes);
    }
    const progress: string[] = [];

    const report = await open().run({
      full: true,
      onProgress: (phase, done, total) => void (phase === 'blobs' && progress.push(`${done}/${total}`)),
    });

    expect(report.blobs).toMatchObject({ examined: 1100, deleted: 1100 });
    expect(progress).toContain('64/65');
    for (const { digest } of Object.values(kept.manifests)) {
      expect((await fixture.registry.getManifest(repository, digest)).descriptor.digest).toBe(digest);
    }
    expect(await dataCount()).toBe(3);
  });

  it('one that is stopped goes on where it was, and forgets nothing that it condemned', async () => {
    for (let index = 0; index < 1100; index++) {
      const bytes = Buffer.from(`blob ${index}`);
      await fixture.registry.putBlob(repository, digestOf(bytes), bytes);
    }
    fixture.advance(hour);
    const stop = new AbortController();
    fixture.before('list', 'refs/', async () => stop.abort(new Error('stop')), 600);

    const first = await open({ graceMs: 1 }).run({ full: true, signal: stop.signal });
    expect(first.complete).toBe(false);
    expect(first.errors).toBe(0);
    fixture.advance(hour);
    const second = await open({ graceMs: 1 }).run({ full: true });
    fixture.advance(hour);
    const third = await open({ graceMs: 1 }).run();

    expect(second.complete).toBe(true);
    expect(second.requests).toBeLessThan(9000);
    expect(third.mode).toBe('hints');
    const counts = [first, second, third].map(({ blobs }) => blobs.deleted);
    expect(counts.reduce((sum, count) => sum + count)).toBe(1100);
  });

  it('what cannot be worked on is counted, stays, and stops nothing else', async () => {
    const { first, second } = (await pushImages()).manifests;
    const collector = open();
    await collector.run({ full: true });
    await fixture.registry.deleteManifest(repository, first.digest);
    await fixture.registry.deleteManifest(repository, second.digest);
    const fail = () => Promise.reject(new ObjectStoreUnavailable('no answer'));
    fixture.before('list', `refs/sha256/${digestOf(large('one')).slice(7)}`, fail);

    const report = await collector.run();
    expect(report).toMatchObject({ errors: 1, messages: ['no answer'] });
    expect(report.blobs.deleted).toBe(3);
    const again = await collector.run();

    expect(again).toMatchObject({ errors: 0 });
    expect(await dataCount()).toBe(0);
  });

  it('a dry run tells what a run would do and writes nothing at all', async () => {
    const { first } = (await pushImages()).manifests;
    await fixture.registry.deleteManifest(repository, first.digest);
    fixture.calls();

    const dry = await open().run({ dryRun: true, full: true });

    expect(fixture.calls().filter((call) => !/^(get|head|list) /.test(call))).toEqual([]);
    const wet = await open().run({ full: true });
    expect(dry.blobs.deleted).toBeGreaterThan(0);
    expect(wet.blobs.deletedBytes).toBe(10_000);
  });

  it('forgets finished uploads after an hour, and collects what they left without a manifest', async () => {
    const { id } = await fixture.registry.startUpload(repository);
    const bytes = large('alone');
    await fixture.registry.finishUpload(repository, id, digestOf(bytes), Readable.from([bytes]));
    const collector = open();
    await collector.run({ full: false });
    expect(await fixture.store.head(uploadKey(id))).toBeDefined();
    fixture.advance(hour);

    const report = await collector.run({ full: false });

    expect(report.uploads).toMatchObject({ reaped: 1 });
    expect(report.blobs).toMatchObject({ deleted: 1 });
    expect(await dataCount()).toBe(0);
  });

  describe('with the policy for untagged manifests', () => {
    const policy = { olderThanMs: 0, appliesTo: (name: string) => name === repository };
    const hinting = () =>
      createStoredRegistry({ store: fixture.store, wait: async () => {}, hintUntagged: true });

    it('removes what a tag was moved away from, and its blobs, in one run', async () => {
      const { first, second } = (await pushImages()).manifests;
      const collector = open({ untagged: policy });
      await collector.run({ full: true });
      await hinting().putManifest(repository, 'v1', second.bytes, second.descriptor.mediaType);

      const report = await collector.run();

      expect(report.manifests).toMatchObject({ deleted: 1 });
      expect(report.blobs).toMatchObject({ deleted: 1 });
      expect(await fixture.manifestState(repository, first.digest)).toBeUndefined();
    });

    it('a full scan finds untagged ones without a hint, only where the policy applies', async () => {
      const { manifests } = await pushImages();
      await pushContent(fixture.registry, { 'team/other': { manifests: { image: {} } } });
      const children = await pushContent(fixture.registry, {
        [repository]: {
          manifests: {
            child: { annotations: { a: 'b' } },
            index: { manifests: ['child'] },
            signature: { subject: 'index' },
          },
          tags: { multi: 'index' },
        },
      });
      await createStoredRegistry({ store: fixture.store }).deleteTag(repository, 'v1');

      const report = await open({ untagged: policy }).run({ full: true });

      expect(report.manifests).toMatchObject({ deleted: 1 });
      expect(await fixture.manifestState(repository, manifests.first.digest)).toBeUndefined();
      for (const { digest } of Object.values(children[repository].manifests)) {
        expect(await fixture.manifestState(repository, digest)).toBe('committed');
      }
      expect(await read('two')).toEqual(large('two'));
    });

    it('without it untagged manifests stay for ever', async () => {
      await pushImages();
      await fixture.registry.deleteTag(repository, 'v1');
      fixture.advance(365 * day);
      await open().run({ full: true });
      expect(await read('one')).toEqual(large('one'));
    });
  });

  describe('among others', () => {
    it('only one works at a time, and a dead one’s lease ends by the store’s clock', async () => {
      const taken = await takeLease(fixture.context, { holder: 'host-a', ttlMs: 60_000 });
      if ('heldBy' in taken) throw new Error('the lease was not free');
      const collector = open();
      await expect(collector.run()).rejects.toThrow(new CollectorBusy('host-a', 60_000));
      await taken.lease.release();
      expect((await collector.run()).complete).toBe(true);

      await takeLease(fixture.context, { holder: 'host-a', ttlMs: 60_000 });
      fixture.advance(60_000);
      expect((await collector.run()).complete).toBe(true);
    });

    it('one whose lease another took stops, and says so', async () => {
      vi.useRealTimers();
      const taken = await takeLease(fixture.context, { holder: 'slow', ttlMs: 30 });
      if ('heldBy' in taken) throw new Error('the lease was not free');
      const lost = once(taken.lease.signal, 'abort');
      // As if it had said nothing for longer than that.
      await fixture.store.delete('gcq/lease');
      const other = await takeLease(fixture.context, { holder: 'other', ttlMs: 60_000 });
      await lost;
      await taken.lease.release();
      await expect(open().run()).rejects.toThrow('other');
      if ('lease' in other) await other.lease.release();
    });

    it('two that work at once do no harm', async () => {
      const { first } = (await pushImages()).manifests;
      await fixture.registry.deleteManifest(repository, first.digest);
      // As if the lease had not been there.
      const alone = (): Promise<unknown> => {
        const store = { ...fixture.store };
        store.get = (key, how) =>
          key === 'gcq/lease' ? Promise.resolve(undefined) : fixture.store.get(key, how);
        store.put = (key, body, how) =>
          key === 'gcq/lease' ? Promise.resolve({ etag: 'x' }) : fixture.store.put(key, body, how);
        return open({ store }).run({ full: true });
      };
      await Promise.all([alone(), alone(), alone()]);
      expect(await read('base')).toEqual(large('base'));
      expect(await dataCount()).toBe(2);
    });

    it('refuses a store whose conditional writes do not hold', async () => {
      const probe = async () => ({ collectionSafe: false, reasons: ['it replaced another version'] });
      await expect(open({ probe }).run()).rejects.toThrow(CollectionRefused);
      expect(await allKeys(fixture.store)).toEqual([]);
    });

    it('keeps to its rate', async () => {
      vi.useRealTimers();
      await pushContent(fixture.registry, { [repository]: { blobs: { a: 'a', b: 'b', c: emptyConfig } } });
      const before = performance.now();
      const { requests } = await open({ rate: 100 }).run({ full: true });
      // A tenth of a second's worth may go at once.
      expect(performance.now() - before).toBeGreaterThan((requests - 12) * 10);
    });

    it('adds up what all of them did', async () => {
      const { first } = (await pushImages()).manifests;
      await open().run({ full: true });
      await fixture.registry.deleteManifest(repository, first.digest);
      await open().run();
      const { totals, report, lastRun } = await open().state();
      expect(totals).toMatchObject({ runs: 2, blobsDeleted: 1, bytesDeleted: 10_000 });
      expect(report?.mode).toBe('hints');
      expect(lastRun).toBe(Date.now());
    });

    it('runs by itself until it is closed', async () => {
      vi.useRealTimers();
      const { first } = (await pushImages()).manifests;
      await fixture.registry.deleteManifest(repository, first.digest);
      const collector = open({ intervalMs: 10 });
      collector.start();
      await vi.waitFor(async () => expect(await dataCount()).toBe(2));
      await collector.close();
      const { totals } = await open().state();
      expect(totals.runs).toBeGreaterThan(0);
    });
  });
});
