import { describe, expect, it } from 'vitest';
import { createPartPlan, maxParts, smallestPart } from '../../../../../core/object-store/s3/part-plan.ts';

const mib = 1024 * 1024;

describe('the plan of parts', () => {
  it('reaches 5 TiB within 10,000 parts, none of which is larger than 5 GiB or smaller than 5 MiB', () => {
    const plan = createPartPlan(8 * mib);

    expect(plan.start(maxParts) + plan.size(maxParts)).toBeGreaterThanOrEqual(5 * 1024 ** 4);
    for (let number = 1; number <= maxParts; number++) {
      expect(plan.size(number)).toBeLessThanOrEqual(5 * 1024 ** 3);
      expect(plan.size(number)).toBeGreaterThanOrEqual(smallestPart);
    }
    expect(() => plan.size(maxParts + 1)).toThrow(RangeError);
  });

  it('has parts that touch', () => {
    const plan = createPartPlan(5 * mib);

    expect(plan.start(1)).toBe(0);
    for (let number = 1; number < maxParts; number++) {
      expect(plan.start(number + 1)).toBe(plan.start(number) + plan.size(number));
    }
  });

  it('keeps parts of 8 MiB for everything up to 7.8 GiB', () => {
    expect(createPartPlan(8 * mib).size(1000)).toBe(8 * mib);
    expect(createPartPlan(8 * mib).size(1001)).toBe(32 * mib);
  });
});
