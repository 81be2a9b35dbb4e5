import { CopyAborted, CopyFault, type CopySide, isTransient } from './copy-fault.ts';

/** How the two registries of a copy are called: what may heal is tried again, and a failure tells on which side it was. */
export interface Calls {
  /** Errors: CopyFault, CopyAborted. */
  readonly on: <T>(side: CopySide, subject: string, call: () => Promise<T>) => Promise<T>;
  /** Waits before attempt `attempt` (1 = the second). False: it was the last, or this side never answered at all. */
  mayRetry(side: CopySide, attempt: number): Promise<boolean>;
  /** Errors: CopyAborted. */
  checkAborted(): void;
}

export interface CallsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Attempts of one call, the first included. Default 6: half a minute in all. */
  readonly attempts?: number | undefined;
  /** Milliseconds before the second attempt, doubled each time. Default 1000. */
  readonly firstDelayMs?: number | undefined;
}

export function createCalls(options: CallsOptions = {}): Calls {
  const { signal, attempts = 6, firstDelayMs = 1000 } = options;
  // An address that nobody answers at is a mistake that its writer wants to hear of at once.
  const answered = new Set<CopySide>();

  const calls: Calls = {
    async on(side, subject, call) {
      for (let attempt = 1; ; attempt += 1) {
        calls.checkAborted();
        try {
          const result = await call();
          answered.add(side);
          return result;
        } catch (error) {
          calls.checkAborted();
          if (error instanceof CopyFault) throw error;
          if (isTransient(error) && (await calls.mayRetry(side, attempt))) continue;
          if (!isTransient(error)) answered.add(side);
          throw new CopyFault(side, subject, error);
        }
      }
    },
    async mayRetry(side, attempt) {
      if (attempt >= attempts || !answered.has(side)) return false;
      await delay(firstDelayMs * 2 ** (attempt - 1), signal);
      calls.checkAborted();
      return true;
    },
    checkAborted() {
      if (signal?.aborted === true) throw new CopyAborted();
    },
  };
  return calls;
}

function delay(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener('abort', end, { once: true });
  });
}
