/** Somebody changes something, others wait for that: `next` resolves at the first change after the call. */
export interface Changes {
  next(): Promise<void>;
  changed(): void;
}

export function createChanges(): Changes {
  let waiting: (() => void)[] = [];
  return {
    next: () => new Promise((resolve) => waiting.push(resolve)),
    changed() {
      const now = waiting;
      waiting = [];
      for (const resolve of now) resolve();
    },
  };
}
