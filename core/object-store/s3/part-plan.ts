/**
 * How an upload is cut into parts. The cuts are a function of the number alone, never of how the bytes arrived: whoever
 * goes on with an upload after a crash sends the same parts under the same numbers, so a part that was sent and not recorded is
 * replaced by itself. (Ceph refuses to complete an upload that has parts which are not in the list.)
 *
 * S3 allows 10,000 parts and 5 TiB: parts 1–1000 have the first size, then 4, 16 and 104 times that. With 16 MiB the first hold 15.6 GiB, and all of them more than 5 TiB.
 */
export interface PartPlan {
  /** Bytes of part `number`, which counts from 1. */
  size(number: number): number;
  /** Where part `number` begins. */
  start(number: number): number;
}

export const maxParts = 10_000;
/** Smaller parts than this are refused by S3, except for the last. */
export const smallestPart = 5 * 1024 * 1024;

const stages = [
  { parts: 1_000, factor: 1 },
  { parts: 1_000, factor: 4 },
  { parts: 2_000, factor: 16 },
  { parts: 6_000, factor: 104 },
] as const;

export function createPartPlan(firstPartBytes: number): PartPlan {
  return {
    size(number) {
      let last = 0;
      for (const { parts, factor } of stages) {
        last += parts;
        if (number <= last) return firstPartBytes * factor;
      }
      throw new RangeError(`an upload has no more than ${maxParts} parts`);
    },
    start(number) {
      let before = number - 1;
      let start = 0;
      for (const { parts, factor } of stages) {
        const here = Math.min(before, parts);
        start += here * firstPartBytes * factor;
        before -= here;
      }
      return start;
    },
  };
}
