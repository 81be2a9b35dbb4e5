import { UpstreamError } from './upstream-error.ts';

/** What is remembered of an upstream's failures, so that a dead one is not waited for by every pull. In memory, per process. */
export interface UpstreamHealth {
  /** Errors: UpstreamError while the upstream asked to be left alone (429, Retry-After). */
  check(): void;
  /** The failure of a moment ago; what is stored is served meanwhile without asking. */
  ailment(): UpstreamError | undefined;
  failed(error: UpstreamError): void;
  answered(): void;
}

/** How long what is stored is served without another try after a failure. */
const pauseMs = 5000;
const maxRetryAfter = 3600;

/** `clock` in milliseconds. */
export function createUpstreamHealth(clock: () => number): UpstreamHealth {
  let failure: { error: UpstreamError; until: number } | undefined;
  const current = (): { error: UpstreamError; until: number } | undefined => {
    if (failure !== undefined && clock() >= failure.until) failure = undefined;
    return failure;
  };
  return {
    check() {
      const now = current();
      if (now === undefined || now.error.code !== 'TOOMANYREQUESTS') return;
      const retryAfter = Math.max(1, Math.ceil((now.until - clock()) / 1000));
      throw new UpstreamError('TOOMANYREQUESTS', now.error.message, { retryAfter });
    },
    ailment: () => current()?.error,
    failed(error) {
      if (error.code === 'TOOMANYREQUESTS') {
        const seconds = Math.min(maxRetryAfter, Math.max(1, error.retryAfter));
        failure = { error, until: clock() + seconds * 1000 };
      } else if (error.ailing && current()?.error.code !== 'TOOMANYREQUESTS') {
        failure = { error, until: clock() + pauseMs };
      }
    },
    answered() {
      if (failure?.error.code === 'UNAVAILABLE') failure = undefined;
    },
  };
}
