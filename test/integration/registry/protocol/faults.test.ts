import { beforeAll, describe, expect, it } from 'vitest';
import { readDepth } from '../../../explorer/depth.ts';
import { noResends } from '../../../explorer/mutations.ts';
import { loadMutated, loadProduct, type Product } from '../../../explorer/product.ts';
import { describeViolation } from '../../../explorer/report.ts';
import { exploreScenario } from '../../../explorer/scenario.ts';
import { createPairs } from '../../../explorer/scenarios.ts';

const depth = readDepth(process.env);

/** Both ways in which stores keep what is uploaded: files have one writer, S3 lets everybody in and parts arrive late. */
const stores = ['locked', 'open'] as const;

describe('any one call of two fails: refused, applied and not told, or applied later', () => {
  let product: Product;
  let hurried: Product;

  beforeAll(async () => {
    product = await loadProduct();
    // Compare-and-set gives up at once, so that one fault is enough for an outcome that stays unknown.
    hurried = await loadMutated([noResends]);
  });

  it.each(Object.entries(createPairs()))('%s: nothing is lost', async (name, scenario) => {
    // Those that are too many without faults are followed as far as one actor after the other.
    const maxPreemptions = (scenario.maxPreemptions === undefined ? 1 : 0) + depth.preemptions;
    for (const uploads of /PUT|PATCH|cancel/.test(name) ? stores : stores.slice(0, 1)) {
      const faulty = { ...scenario, faults: 1, maxPreemptions, store: { ...scenario.store, uploads } };
      for (const code of [product, hurried]) {
        const found = await exploreScenario(code, faulty);

        expect(describeViolation(found)).toBe('nothing is wrong');
        expect(found.complete).toBe(true);
      }
    }
  });
});
