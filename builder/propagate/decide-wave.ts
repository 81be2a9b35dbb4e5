import type { Digest } from '../../oci/digest.ts';
import type { ChannelState, StartingWave } from './channel-state.ts';
import type { PropagationSettings } from './settings.ts';

const hourMs = 60 * 60_000;
/** A channel that never stands still starts a wave after so many times `settle`. */
const patience = 10;

export interface Decision {
  /** The wave to queue. */
  readonly start?: StartingWave;
  /** Undefined = as it was. */
  readonly state: ChannelState | undefined;
  /** A wave is due and does not start: the loop breaker. */
  readonly held?: true;
}

/**
 * Pure: whether a channel that names `digest` now starts a wave by itself. Only another digest does, never a tag that was set again; the first sight of
 * a channel never does; a channel that keeps moving is waited for, and started no more often than so many times an hour, as a base
 * that is rebuilt in a circle must not rebuild everything else with it.
 */
export function decideWave(
  state: ChannelState | undefined,
  digest: Digest,
  options: {
    readonly settings: Pick<PropagationSettings, 'settle' | 'wavesPerHour'>;
    readonly now: number;
    /** Who moved it says that it is done. */
    readonly settled: boolean;
    /** A wave of this channel has not ended yet. */
    readonly busy: boolean;
    /** The names of a wave that starts. */
    readonly ids: Pick<StartingWave, 'id' | 'group'>;
  },
): Decision {
  const { settings, now, settled, busy } = options;
  if (state === undefined) return { state: { handled: digest, waves: [] } };
  if (state.starting !== undefined) return { start: state.starting, state: undefined };
  const { pending, ...rest } = state;
  const retry = state.retryAt !== undefined && state.retryAt <= now;
  if (state.handled === digest && !retry) {
    return { state: pending === undefined ? undefined : rest };
  }
  const first = pending?.first ?? now;
  const since = pending?.digest === digest ? pending.since : now;
  const waiting = { ...rest, pending: { digest, since, first } };
  const settleMs = settings.settle * 1000;
  const due = settled || retry || now - since >= settleMs || now - first >= settleMs * patience;
  const unchanged = pending?.digest === digest;
  if (!due || busy) return { state: unchanged ? undefined : waiting };
  const waves = state.waves.filter((time) => now - time < hourMs);
  if (waves.length >= settings.wavesPerHour) {
    return { state: unchanged ? undefined : waiting, held: true };
  }
  const { retryAt: _, undone: __, ...started } = rest;
  const start = { ...options.ids, ...(state.handled === digest ? {} : { from: state.handled }) };
  return { start, state: { ...started, handled: digest, waves: [...waves, now], starting: start } };
}
