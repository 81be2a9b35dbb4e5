/** Runs `work` once for all who ask for `key` at the same time; a failure is everybody's, and the next one tries again. */
export type SingleFlight<T> = (key: string, work: () => Promise<T>) => Promise<T>;

export function createSingleFlight<T>(): SingleFlight<T> {
  const running = new Map<string, Promise<T>>();
  return (key, work) => {
    const known = running.get(key);
    if (known !== undefined) return known;
    const flight = work().finally(() => running.delete(key));
    running.set(key, flight);
    return flight;
  };
}
