import { describe, expect, it } from 'vitest';
import { readDepth } from '../../../explorer/depth.ts';
import { loadProduct } from '../../../explorer/product.ts';
import { describeViolation } from '../../../explorer/report.ts';
import { exploreScenario } from '../../../explorer/scenario.ts';
import { createPairs } from '../../../explorer/scenarios.ts';

describe('every interleaving of two, each of them dying at every step', () => {
  const { preemptions } = readDepth(process.env);

  it.each(Object.entries(createPairs()))('%s: nothing is lost', async (_, scenario) => {
    const bound = scenario.maxPreemptions;
    const found = await exploreScenario(await loadProduct(), {
      ...scenario,
      ...(bound === undefined ? {} : { maxPreemptions: bound + preemptions }),
    });

    expect(describeViolation(found)).toBe('nothing is wrong');
    expect(found.complete).toBe(true);
    expect(found.states).toBeGreaterThan(1);
  });
});
