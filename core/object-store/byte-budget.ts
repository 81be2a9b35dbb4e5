/** So many bytes may be held at once; who wants more waits his turn, first come first served. */
export interface ByteBudget {
  /** Undefined: granted. Otherwise wait for the promise. More than the whole budget is granted when nobody else holds any. */
  take(bytes: number): Promise<void> | undefined;
  give(bytes: number): void;
}

export function createByteBudget(total: number): ByteBudget {
  let held = 0;
  const waiting: { bytes: number; granted: () => void }[] = [];
  const fits = (bytes: number): boolean => held === 0 || held + bytes <= total;
  return {
    take(bytes) {
      if (waiting.length === 0 && fits(bytes)) {
        held += bytes;
        return undefined;
      }
      return new Promise((granted) => waiting.push({ bytes, granted }));
    },
    give(bytes) {
      held -= bytes;
      for (let next = waiting[0]; next !== undefined && fits(next.bytes); next = waiting[0]) {
        waiting.shift();
        held += next.bytes;
        next.granted();
      }
    },
  };
}
