import { RefusedCall } from '../../oci/client/answers.ts';
import type { OciError } from '../../oci/errors.ts';
import type { MirrorLog, MirrorObserver, UpstreamOutcome } from './deps.ts';
import type { MirrorOptions } from './mirror.ts';
import { isUnknown, toUpstreamError, UpstreamError } from './upstream-error.ts';
import { createUpstreamHealth } from './upstream-health.ts';

/**
 * The one way to an upstream. Undefined: it has no such thing. Errors: UpstreamError (also without asking, while the upstream wants
 * to be left alone), DENIED.
 */
export type AskUpstream = <T>(
  mirror: MirrorOptions,
  call: () => Promise<T>,
) => Promise<{ readonly value: T } | undefined>;

export interface UpstreamCalls {
  readonly ask: AskUpstream;
  /** The upstream's failure of a moment ago. */
  ailment(mirror: MirrorOptions): UpstreamError | undefined;
}

/** `clock` in milliseconds. */
export function createUpstreamCalls(deps: {
  readonly mirrors: readonly MirrorOptions[];
  readonly log: MirrorLog;
  readonly observer?: MirrorObserver | undefined;
  readonly clock: () => number;
}): UpstreamCalls {
  const { log, observer, clock } = deps;
  // An upstream that two prefixes share limits both of them together.
  const byHost = new Map(deps.mirrors.map(({ host }) => [host, createUpstreamHealth(clock)]));
  const healthOf = (mirror: MirrorOptions): ReturnType<typeof createUpstreamHealth> => {
    const known = byHost.get(mirror.host) ?? createUpstreamHealth(clock);
    byHost.set(mirror.host, known);
    return known;
  };
  return {
    async ask(mirror, call) {
      const health = healthOf(mirror);
      health.check();
      try {
        const value = await call();
        health.answered();
        observer?.asked(mirror.host, 'answered');
        return { value };
      } catch (error) {
        if (isUnknown(error)) {
          health.answered();
          observer?.asked(mirror.host, 'unknown');
          return undefined;
        }
        const told = toUpstreamError(error, mirror.host);
        observer?.asked(mirror.host, outcomeOf(told));
        // Once for a row of failures: every pull meets them.
        if (health.ailment() === undefined || !(told instanceof UpstreamError)) {
          log.warn({ upstream: mirror.host, ...reasonOf(error) }, 'the upstream of a mirror failed');
        }
        if (told instanceof UpstreamError) health.failed(told);
        throw told;
      }
    },
    ailment: (mirror) => healthOf(mirror).ailment(),
  };
}

function outcomeOf(error: OciError): UpstreamOutcome {
  if (error.code === 'DENIED') return 'refused';
  return error.code === 'TOOMANYREQUESTS' ? 'limited' : 'failed';
}

/** What an upstream says in its refusal stays out of the log: it has our password and may repeat it. */
function reasonOf(error: unknown): Record<string, unknown> {
  return error instanceof RefusedCall ? { answered: error.answered, code: error.code } : { err: error };
}
