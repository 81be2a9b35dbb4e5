import { inParallel } from '../store/in-parallel.ts';
import { dueHintsPrefix, newHintsPrefix } from '../store/paths.ts';
import { decodeHints, type Hint } from './hints.ts';
import { type Run, review, settle } from './run.ts';
import { walkKeys } from './walk.ts';

/** Objects with hints that are read at once: a layer that many images share is then looked at once. */
const objectsAtOnce = 1000;
/** Working off hints makes new ones: an index leads to its manifests, a manifest to its blobs. */
const mostRounds = 5;

/** What somebody stopped needing since the last run, and what was condemned long enough ago. */
export async function runHints(run: Run): Promise<void> {
  let done = 0;
  const work = async (keys: readonly string[]): Promise<void> => {
    await workOff(run, keys);
    done += keys.length;
    run.onProgress('hints', done);
  };
  await eachBatch(dueHints(run), work);
  for (let round = 1; round <= mostRounds; round++) {
    const before = done;
    await eachBatch(newHints(run), work);
    if (done === before || run.dryRun || run.tally.errors > 0) return;
  }
}

async function* newHints(run: Run): AsyncGenerator<string> {
  for await (const { key } of walkKeys(run.context.store, { prefix: newHintsPrefix })) yield key;
}

/** The first ones in the order of their keys are the oldest. */
async function* dueHints(run: Run): AsyncGenerator<string> {
  for await (const { key } of walkKeys(run.context.store, { prefix: dueHintsPrefix })) {
    const condemned = Number(key.slice(dueHintsPrefix.length).split('-', 1)[0]);
    const waitMs = condemned + run.settings.graceMs - run.storeTime.getTime();
    if (waitMs > 0) {
      run.tally.soonestMs = Math.min(waitMs, run.tally.soonestMs ?? waitMs);
      return;
    }
    yield key;
  }
}

async function eachBatch(
  keys: AsyncIterable<string>,
  work: (batch: readonly string[]) => Promise<void>,
): Promise<void> {
  let batch: string[] = [];
  for await (const key of keys) {
    batch.push(key);
    if (batch.length < objectsAtOnce) continue;
    await work(batch);
    batch = [];
  }
  if (batch.length > 0) await work(batch);
}

async function workOff(run: Run, keys: readonly string[]): Promise<void> {
  const { store } = run.context;
  const hints = new Map<string, Hint>();
  await inParallel(keys, async (key) => {
    const stored = await store.get(key);
    for (const hint of decodeHints(stored?.body ?? Buffer.alloc(0))) {
      hints.set(hint.kind === 'blob' ? hint.digest : `${hint.repository} ${hint.digest}`, hint);
    }
  });
  const errors = run.tally.errors;
  for (const hint of hints.values()) await review(run, hint);
  await settle(run);
  // What could not be looked at is looked at again; nobody else writes under these keys.
  if (!run.dryRun && run.tally.errors === errors) await store.deleteMany(keys);
}
