import { UserError } from '../../core/user-error.ts';
import type { Registry } from '../../oci/registry.ts';
import { putTags } from '../farm/set-tags.ts';
import { type BaseChannel, readChannel } from './base-tree.ts';
import type { ChannelStates } from './channel-state.ts';
import type { Wave, WaveRequest } from './wave.ts';

export interface UndoWave {
  readonly name: string;
  readonly channel?: string | undefined;
  readonly wave?: string | undefined;
  /** The channel itself goes back as well. Default false: new builds go on with what it names now. */
  readonly moveChannel?: boolean | undefined;
  readonly by: string;
}

/** Queues a wave that takes back what others did. */
type Enqueue = (
  base: Pick<BaseChannel, 'repository' | 'channel' | 'digest'>,
  request: Partial<WaveRequest>,
) => Promise<Wave>;

/** Chooses among the waves of a base image, newest first, what is to be undone, and begins to. Errors: UserError. */
export async function undoWaves(
  deps: { readonly registry: Registry; readonly states: ChannelStates },
  waves: readonly Wave[],
  options: UndoWave,
  enqueue: Enqueue,
): Promise<readonly Wave[]> {
  const { moveChannel = false, by } = options;
  const chosen = chooseWaves(waves, options);
  if (moveChannel) for (const { request } of chosen) await moveChannelBack(deps.registry, request);
  return Promise.all(
    chosen.map(async ({ id, request }) => {
      const { repository, channel, to, from } = request;
      await deps.states.update(repository, channel, (state) => {
        if (state === undefined) return undefined;
        const { pending: _, retryAt: __, starting: ___, ...rest } = state;
        if (moveChannel && from !== undefined) return { ...rest, handled: from };
        return { ...rest, undone: true };
      });
      return enqueue(
        { repository, channel, digest: to },
        { kind: 'undo', by, undoes: id, ...(from === undefined ? {} : { from }) },
      );
    }),
  );
}

function chooseWaves(waves: readonly Wave[], { name, channel, wave }: UndoWave): readonly Wave[] {
  const undone = new Set(waves.map(({ request }) => request.undoes));
  const candidates = waves.filter(
    ({ id, request }) =>
      request.kind === 'rebase' &&
      (wave === undefined ? !undone.has(id) : id === wave) &&
      (channel === undefined || request.channel === channel),
  );
  const [newest] = candidates;
  if (newest !== undefined) {
    return candidates.filter(({ request }) => request.group === newest.request.group);
  }
  const base = channel === undefined ? name : `${name}:${channel}`;
  throw new UserError(
    wave === undefined ? `there is no wave of ${base} that could be undone` : `${base} has no wave ${wave}`,
  );
}

/** Errors: UserError when nobody knows where to, or when the channel moved on. */
async function moveChannelBack(
  registry: Registry,
  { repository, channel, to, from }: WaveRequest,
): Promise<void> {
  const now = await readChannel(registry, repository, channel);
  if (from === undefined) throw new UserError(`nobody knows what ${repository}:${channel} named before`);
  if (now?.digest !== to && now?.digest !== from) {
    throw new UserError(`${repository}:${channel} moved on since; it stays where it is`);
  }
  await putTags(registry, repository, from, [channel]);
}
