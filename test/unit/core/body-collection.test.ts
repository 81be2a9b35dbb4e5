import { describe, expect, it } from 'vitest';
import { createBodyCollection } from '../../../core/body-collection.ts';

describe('the collection of what bodies leave behind', () => {
  it('runs once for every 4 MiB that arrived, in chunks of any size', () => {
    let collected = 0;
    const arrived = createBodyCollection(() => collected++);
    const mebibyte = 1024 * 1024;

    for (let chunk = 0; chunk < 63; chunk++) arrived(65_536);
    expect(collected).toBe(0);
    arrived(65_536);
    expect(collected).toBe(1);
    arrived(30 * mebibyte);
    arrived(3 * mebibyte);
    expect(collected).toBe(2);
  });
});
