import { randomBytes } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { Digest } from '../../oci/digest.ts';

/** What is remembered of one channel of a base image, so that a wave starts once for each move of it and no more often than allowed. */
export interface ChannelState {
  /** Its apps are on this one, or a wave was started to bring them there. */
  readonly handled: Digest;
  /** It was seen to have moved, and must stand still for a while first. */
  readonly pending?: PendingMove;
  /** When waves started by themselves in the last hour; milliseconds since 1970. */
  readonly waves: readonly number[];
  /** A wave that is to be queued: whoever decided on it may die before it is. */
  readonly starting?: StartingWave;
  /** Id of the last wave. */
  readonly wave?: string;
  /** That wave was undone: nothing is brought to `handled` by itself any more. */
  readonly undone?: true;
  /** Images were outside of their maintenance window: another look then. Milliseconds since 1970. */
  readonly retryAt?: number;
}

export interface PendingMove {
  readonly digest: Digest;
  /** When this digest was first seen. */
  readonly since: number;
  /** When the channel was first seen to differ from `handled`. */
  readonly first: number;
}

export interface StartingWave {
  readonly id: string;
  readonly group: string;
  /** What the channel named before. */
  readonly from?: Digest;
}

export interface ChannelStates {
  read(repository: string, channel: string): Promise<ChannelState | undefined>;
  /** Writes what `change` makes of the state; undefined = leaves it. Called again where somebody else wrote meanwhile. Returns the state. */
  update(
    repository: string,
    channel: string,
    change: (state: ChannelState | undefined) => ChannelState | undefined,
  ): Promise<ChannelState | undefined>;
}

export function createChannelStates(store: ObjectStore): ChannelStates {
  const keyOf = (repository: string, channel: string): string =>
    `base-channels/${repository}/_channels/${channel}`;

  async function load(key: string): Promise<{ state: ChannelState; etag: string } | undefined> {
    const object = await store.get(key);
    if (object === undefined) return undefined;
    const {
      state: _,
      nonce: __,
      ...state
    } = JSON.parse(object.body.toString('utf8')) as ChannelState & {
      state: string;
      nonce: string;
    };
    return { state, etag: object.etag };
  }

  return {
    read: async (repository, channel) => (await load(keyOf(repository, channel)))?.state,
    async update(repository, channel, change) {
      const key = keyOf(repository, channel);
      for (;;) {
        const known = await load(key);
        const next = change(known?.state);
        if (next === undefined) return known?.state;
        const nonce = randomBytes(16).toString('hex');
        const body = Buffer.from(JSON.stringify({ state: 'channel', nonce, ...next }));
        try {
          await store.put(key, body, known === undefined ? { ifNoneMatch: '*' } : { ifMatch: known.etag });
          return next;
        } catch (error) {
          if (!(error instanceof PreconditionFailed)) throw error;
        }
      }
    },
  };
}
