import { UserError } from '../../core/user-error.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Reader } from '../../oci/registry.ts';
import type { TagRecords } from '../farm/tag-records.ts';
import type { BaseChannel } from './base-tree.ts';
import { findDescendants } from './descendants.ts';

/** A channel that has apps on another digest of it. */
export interface ChannelBehind {
  readonly channel: BaseChannel;
  /** The digest that all of them are on; undefined: on several. */
  readonly from?: Digest;
}

/** Those of the channels that have apps (or one of `apps`) on another digest of theirs. Errors: UserError (one of `apps` is on none of them). */
export async function channelsBehind(
  deps: { readonly registry: Reader; readonly records: Pick<TagRecords, 'entries'> },
  channels: readonly BaseChannel[],
  apps?: readonly string[],
): Promise<readonly ChannelBehind[]> {
  const nameOf = (base: { repository: string; channel: string }): string =>
    `${base.repository}:${base.channel}`;
  const names = new Set(channels.map(nameOf));
  const descendants = await findDescendants(deps, (base) => names.has(nameOf(base)));
  const stranger = apps?.find((app) => descendants.every(({ repository }) => repository !== app));
  if (stranger !== undefined) {
    throw new UserError(`${stranger} has no image that was built here on ${[...names].join(' or ')}`);
  }
  return channels.flatMap((channel) => {
    const digests = new Set(
      descendants
        .filter(({ repository }) => apps?.includes(repository) ?? true)
        .filter(({ base }) => nameOf(base) === nameOf(channel) && base.digest !== channel.digest)
        .map(({ base }) => base.digest),
    );
    const [from] = digests;
    if (from === undefined) return [];
    return [{ channel, ...(digests.size === 1 ? { from } : {}) }];
  });
}
