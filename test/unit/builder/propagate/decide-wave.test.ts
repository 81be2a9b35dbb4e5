import { describe, expect, it } from 'vitest';
import type { ChannelState } from '../../../../builder/propagate/channel-state.ts';
import { decideWave } from '../../../../builder/propagate/decide-wave.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';

const [a, b, c] = ['a', 'b', 'c'].map((text) => digestOf(text)) as [Digest, Digest, Digest];
const minute = 60_000;
const options = {
  settings: { settle: 60, wavesPerHour: 2 },
  now: 0,
  settled: false,
  busy: false,
  ids: { id: 'wave', group: 'group' },
};

/** What a channel does over time, looked at every so often: the times at which waves start. */
function watch(digests: readonly Digest[], everyMs = minute): number[] {
  let state: ChannelState | undefined;
  const starts: number[] = [];
  for (const [index, digest] of digests.entries()) {
    const now = index * everyMs;
    const decision = decideWave(state, digest, { ...options, now, ids: { id: `${index}`, group: 'g' } });
    state = decision.state ?? state;
    if (decision.start === undefined || state === undefined) continue;
    starts.push(index);
    const { starting: _, ...queued } = state;
    state = queued;
  }
  return starts;
}

describe('decideWave', () => {
  it('only remembers a channel that it sees first', () => {
    expect(decideWave(undefined, a, { ...options, settled: true })).toEqual({
      state: { handled: a, waves: [] },
    });
  });

  it('starts once for another digest, when the channel has stood still', () => {
    expect(watch([a, a, b, b, b, b])).toEqual([3]);
  });

  it('starts at once when whoever moved it says that it is done', () => {
    const { start, state } = decideWave({ handled: a, waves: [] }, b, { ...options, settled: true });

    expect(start).toEqual({ id: 'wave', group: 'group', from: a });
    expect(state).toEqual({ handled: b, waves: [0], starting: start });
  });

  it('never starts for a tag that was set again to the same digest, nor for one that went there and back', () => {
    expect(watch([a, a, a])).toEqual([]);
    expect(watch([a, b, a, a, b, a])).toEqual([]);
  });

  it('a base tag that moves every minute starts a wave after ten times the wait, and no more than allowed (builder.md 6, row 32)', () => {
    const moving = Array.from({ length: 61 }, (_, index) => digestOf(`${index}`));

    expect(watch(moving)).toEqual([11, 22]);
  });

  it('says that it holds a wave back, and starts it when an hour is over', () => {
    const state = { handled: a, waves: [0, 1], pending: { digest: b, since: 0, first: 0 } };

    expect(decideWave(state, b, { ...options, now: 5 * minute })).toMatchObject({ held: true });
    expect(decideWave(state, b, { ...options, now: 61 * minute }).start).toBeDefined();
  });

  it('waits for the wave that runs', () => {
    const state = { handled: a, waves: [] };

    const waiting = decideWave(state, b, { ...options, settled: true, busy: true });

    expect(waiting).toEqual({ state: { ...state, pending: { digest: b, since: 0, first: 0 } } });
    expect(decideWave(waiting.state, b, { ...options, now: minute }).start).toBeDefined();
  });

  it('names a wave again that was decided on and never queued', () => {
    const starting = { id: 'old', group: 'old' };

    expect(decideWave({ handled: b, waves: [0], starting }, c, options)).toEqual({
      start: starting,
      state: undefined,
    });
  });

  it('starts once more when a maintenance window opens', () => {
    const state = { handled: a, waves: [], retryAt: 10 };

    expect(decideWave(state, a, { ...options, now: 9 }).start).toBeUndefined();
    expect(decideWave(state, a, { ...options, now: 10 })).toMatchObject({
      start: { id: 'wave' },
      state: { handled: a, waves: [10] },
    });
  });
});
