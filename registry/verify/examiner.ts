import type { StoreContext } from '../store/context.ts';
import { inParallel } from '../store/in-parallel.ts';
import { type Finding, finding, isSameFinding } from './finding.ts';
import { createCachedLookups, createFreshLookups, type Lookups, UnreadableRecord } from './lookups.ts';

/** What is wrong with one thing, as the store has it now. */
export type Check = (look: Lookups) => Promise<readonly Finding[]>;

/**
 * Runs checks while people push and delete. What one finds is looked at again without anything remembered, in the order of the
 * protocol; damage several times, with longer and longer waits, and only what was there each time, of the same version, is told.
 */
export interface Examiner {
  examine(check: Check): Promise<void>;
  /** Waits until everything that was found is told or has gone away. */
  settle(): Promise<void>;
}

export interface ExaminerOptions {
  readonly context: StoreContext;
  readonly onFinding: (found: Finding) => void;
  /** Milliseconds before each further look at what may be damage; default 0.25, 0.75, 2 and 3 seconds. */
  readonly waits?: readonly number[];
  /** Looks at once. */
  readonly parallel: number;
}

const defaultWaits = [250, 750, 2000, 3000];
/** So many suspects are looked at again together; bounds memory, and time where very much is broken. */
const suspectsAtOnce = 1000;

interface Suspect {
  readonly check: Check;
  readonly found: readonly Finding[];
}

export function createExaminer(options: ExaminerOptions): Examiner {
  const { context, onFinding, waits = defaultWaits } = options;
  const cached = createCachedLookups(context);
  const fresh = createFreshLookups(context);
  let suspects: Suspect[] = [];
  let settling: Promise<void> = Promise.resolve();

  async function settleSome(some: readonly Suspect[]): Promise<void> {
    let left = some;
    for (const wait of waits) {
      if (left.length === 0) return;
      await context.wait(wait);
      const again = await inParallel(
        left,
        async ({ check, found }) => ({ check, found: both(found, await run(check, fresh)) }),
        options.parallel,
      );
      left = again.filter(({ found }) => found.length > 0);
    }
    for (const { found } of left) for (const each of found) onFinding(each);
  }

  function settle(): Promise<void> {
    const some = suspects;
    suspects = [];
    settling = settling.then(() => settleSome(some));
    return settling;
  }

  return {
    async examine(check) {
      const first = await run(check, cached);
      if (first.length === 0) return;
      const found = both(first, await run(check, fresh));
      for (const each of found) if (each.severity !== 'damage') onFinding(each);
      const damage = found.filter(({ severity }) => severity === 'damage');
      if (damage.length === 0) return;
      suspects.push({ check, found: damage });
      if (suspects.length >= suspectsAtOnce) await settle();
    },
    settle,
  };
}

async function run(check: Check, look: Lookups): Promise<readonly Finding[]> {
  try {
    return await check(look);
  } catch (error) {
    if (error instanceof UnreadableRecord) return [finding('unreadable-record', error.key, error.message)];
    throw error;
  }
}

function both(first: readonly Finding[], second: readonly Finding[]): Finding[] {
  return first.filter((one) => second.some((other) => isSameFinding(one, other)));
}
