import { describe, expect, it } from 'vitest';
import { loadProduct } from '../../../explorer/product.ts';
import { describeViolation } from '../../../explorer/report.ts';
import { exploreScenario } from '../../../explorer/scenario.ts';
import { createPairs } from '../../../explorer/scenarios.ts';

describe('every interleaving of two, each of them dying at every step', () => {
  it.each(Object.entries(createPairs()))('%s: nothing is lost', async (_, scenario) => {
    const found = await exploreScenario(await loadProduct(), scenario);

    expect(describeViolation(found)).toBe('nothing is wrong');
    expect(found.complete).toBe(true);
    expect(found.states).toBeGreaterThan(1);
  });
});
