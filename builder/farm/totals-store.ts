import { randomBytes } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import { addTotals, type BuildTotals, noTotals } from './build-totals.ts';

/**
 * The totals of all workers. Each worker writes a document of its own, so that none waits for another and one without HTTP is counted as well; those
 * of workers that are gone are added up in one, so that there are never many.
 */
export interface TotalsStore {
  /** What this worker did so far. Errors: ObjectStoreUnavailable. */
  write(worker: string, totals: BuildTotals): Promise<void>;
  /** Of all workers, since the store was new. Errors: ObjectStoreUnavailable. */
  read(): Promise<BuildTotals>;
  /** Adds up the documents that nobody wrote since `before` (milliseconds since 1970, by the store's clock). Errors: ObjectStoreUnavailable. */
  retire(before: number): Promise<void>;
}

/** Totals of workers that are gone. `workers`: those whose own document is still to be deleted, and does not count any more. */
interface Retired {
  readonly totals: BuildTotals;
  readonly workers: readonly string[];
}

const prefix = 'farm/totals/';
const retiredKey = 'farm/totals-retired';

export function createTotalsStore(store: ObjectStore): TotalsStore {
  async function load<T>(key: string): Promise<{ value: T; etag: string } | undefined> {
    const object = await store.get(key);
    if (object === undefined) return undefined;
    return { value: JSON.parse(object.body.toString('utf8')) as T, etag: object.etag };
  }

  async function listed(): Promise<{ worker: string; key: string; modified: Date }[]> {
    const { objects } = await store.list({ prefix });
    return objects.map(({ key, modified }) => ({ worker: key.slice(prefix.length), key, modified }));
  }

  return {
    async write(worker, totals) {
      await store.put(`${prefix}${worker}`, Buffer.from(JSON.stringify(totals)), { durability: 'process' });
    },

    async read() {
      // The workers' own ones first: one that is retired meanwhile is gone, or named among those that do not count any more.
      const documents = await listed();
      const own = await Promise.all(
        documents.map(async ({ worker, key }) => ({ worker, found: await load<BuildTotals>(key) })),
      );
      const retired = (await load<Retired>(retiredKey))?.value;
      return own
        .filter(({ worker }) => retired?.workers.includes(worker) !== true)
        .reduce((sum, { found }) => addTotals(sum, found?.value ?? noTotals), retired?.totals ?? noTotals);
    },

    async retire(before) {
      const documents = await listed();
      const retired = await load<Retired>(retiredKey);
      // Added up by somebody who died before he could delete them.
      const leftOver = documents.filter(({ worker }) => retired?.value.workers.includes(worker));
      if (leftOver.length > 0) await store.deleteMany(leftOver.map(({ key }) => key));
      const old = documents.filter(
        ({ worker, modified }) =>
          modified.getTime() < before && retired?.value.workers.includes(worker) !== true,
      );
      if (old.length === 0) return;
      const found = await Promise.all(old.map(({ key }) => load<BuildTotals>(key)));
      const totals = found.reduce(
        (sum, document) => addTotals(sum, document?.value ?? noTotals),
        retired?.value.totals ?? noTotals,
      );
      const next: Retired & { readonly nonce: string } = {
        nonce: randomBytes(8).toString('hex'),
        workers: old.map(({ worker }) => worker),
        totals,
      };
      const condition = retired === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: retired.etag };
      try {
        await store.put(retiredKey, Buffer.from(JSON.stringify(next)), condition);
      } catch (error) {
        // Another worker does the same right now.
        if (error instanceof PreconditionFailed) return;
        throw error;
      }
      await store.deleteMany(old.map(({ key }) => key));
    },
  };
}
