import type { Logger } from '../../core/log.ts';
import type { JobQueue } from '../../core/queue/job-queue.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import type { BaseChannel } from './base-tree.ts';
import type { ChannelStates, StartingWave } from './channel-state.ts';
import type { ChannelBehind } from './channels-behind.ts';
import { decideWave } from './decide-wave.ts';
import type { PropagationSettings } from './settings.ts';
import type { Wave, WaveRequest } from './wave.ts';

export interface ChannelWatch {
  /** Looks at each channel and starts the waves that are due. `settled`: whoever moved them says that it is done. */
  look(channels: readonly BaseChannel[], options: { settled: boolean }): Promise<readonly Wave[]>;
}

/** Which waves start by themselves. */
export function createChannelWatch(deps: {
  readonly states: ChannelStates;
  readonly waves: Pick<JobQueue, 'get'>;
  readonly settings: PropagationSettings;
  readonly log: Logger;
  readonly now: () => number;
  readonly behind: (channels: readonly BaseChannel[]) => Promise<readonly ChannelBehind[]>;
  /** Queues a wave; a second time with the same id changes nothing. */
  readonly enqueue: (base: BaseChannel, id: string, request: Partial<WaveRequest>) => Promise<Wave>;
}): ChannelWatch {
  const { states, settings, log, now } = deps;

  async function isBusy(id: string | undefined): Promise<boolean> {
    const job = id === undefined ? undefined : await deps.waves.get(id);
    return job !== undefined && job.finishedAt === undefined;
  }

  /** Undefined: no wave is due. */
  async function decide(
    { repository, channel, digest }: BaseChannel,
    settled: boolean,
    group: string,
  ): Promise<StartingWave | undefined> {
    const seen = await states.read(repository, channel);
    const ids = { id: timeOrderedId(now()), group };
    const options = { settings, now: now(), settled, busy: await isBusy(seen?.wave), ids };
    let decision = decideWave(seen, digest, options);
    await states.update(repository, channel, (state) => {
      decision = decideWave(state, digest, options);
      return decision.state;
    });
    if (decision.held === true) {
      log.warn({ base: `${repository}:${channel}`, digest }, 'base image moves too often: no wave starts');
    }
    return decision.start;
  }

  return {
    async look(channels, { settled }) {
      const due: { base: BaseChannel; wave: StartingWave }[] = [];
      const group = timeOrderedId(now());
      for (const base of channels) {
        const wave = await decide(base, settled, group);
        if (wave !== undefined) due.push({ base, wave });
      }
      if (due.length === 0) return [];
      const wanted = await deps.behind(due.map(({ base }) => base));
      const waves: Wave[] = [];
      for (const { base, wave } of due) {
        const { id, group: ofWave } = wave;
        const found = wanted.find(({ channel }) => channel === base);
        const from = wave.from ?? found?.from;
        const queued =
          found === undefined
            ? undefined
            : await deps.enqueue(base, id, {
                by: 'brickyard',
                automatic: true,
                group: ofWave,
                ...(from === undefined ? {} : { from }),
              });
        if (queued !== undefined) waves.push(queued);
        await states.update(base.repository, base.channel, (state) => {
          if (state?.starting?.id !== id) return undefined;
          const { starting: _, ...rest } = state;
          return { ...rest, ...(queued === undefined ? {} : { wave: id }) };
        });
      }
      return waves;
    },
  };
}
