import { describe, expect, it } from 'vitest';
import { createBrokenRules } from '../../../explorer/mutations.ts';
import { loadMutated } from '../../../explorer/product.ts';
import { describeViolation } from '../../../explorer/report.ts';
import { exploreScenario } from '../../../explorer/scenario.ts';

describe('a rule broken on purpose is noticed', () => {
  it.each(Object.entries(createBrokenRules()))('%s', async (_, { mutations, scenario, finds }) => {
    const product = await loadMutated(mutations);

    const { violation } = await exploreScenario(product, {
      ...scenario,
      // The loss itself, where there is one, and not that something is unprotected.
      invariants: scenario.invariants ?? { protection: false },
    });

    expect(violation?.texts ?? [], describeViolation({ violation })).toContainEqual(
      expect.stringMatching(finds),
    );
  });
});
