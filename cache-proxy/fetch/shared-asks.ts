/** One question at a time, however many ask it. */
export interface SharedAsks<Source extends object, Answer> {
  /** The answer that is under way from this source already, or that of `fetch`. Errors: those of whichever it is. */
  ask(source: Source, key: string, fetch: () => Promise<Answer>): Promise<Answer>;
}

/** For what never changes: whoever joins gets what the registry said before he asked. */
export function createSharedAsks<Source extends object, Answer>(): SharedAsks<Source, Answer> {
  const sources = new WeakMap<Source, Map<string, Promise<Answer>>>();
  return {
    ask(source, key, fetch) {
      const running = sources.get(source) ?? new Map<string, Promise<Answer>>();
      sources.set(source, running);
      const joined = running.get(key);
      if (joined !== undefined) return joined;
      const started = fetch().finally(() => running.delete(key));
      running.set(key, started);
      return started;
    },
  };
}
