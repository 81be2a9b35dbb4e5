import { describe, expect, it } from 'vitest';
import { readDepth } from '../../../explorer/depth.ts';
import { loadProduct } from '../../../explorer/product.ts';
import { describeViolation } from '../../../explorer/report.ts';
import { prepareScenario } from '../../../explorer/scenario.ts';
import { createCrowds } from '../../../explorer/scenarios.ts';
import { walk } from '../../../explorer/walk.ts';

/** What was seen is remembered for so many runs, then forgotten to keep memory bounded. */
const runsPerWorld = 100;

describe('three and more at random, with failing calls and deaths', () => {
  const { runs, seed: first } = readDepth(process.env);

  it.each(Object.entries(createCrowds()))('%s: nothing is lost', async (_, scenario) => {
    const product = await loadProduct();
    let prepared = await prepareScenario(product, scenario);
    for (let run = 0; run < runs; run++) {
      if (run % runsPerWorld === runsPerWorld - 1) prepared = await prepareScenario(product, scenario);
      const seed = first + run;
      const { texts, schedule } = await walk(product, scenario, prepared, seed);

      if (texts.length > 0) {
        expect.fail(`EXPLORER_SEED=${seed}: ${describeViolation({ violation: { texts, schedule } })}`);
      }
    }
  });
});
