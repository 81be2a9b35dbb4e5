import { UserError } from '../../core/user-error.ts';
import { isTag } from '../../oci/reference.ts';

/** `jdk` or `jdk:17`; `baseimages/jdk:17` is how images name it. Errors: UserError. */
export function parseBaseArgument(text: string): { name: string; channel?: string } {
  const [name = '', channel, ...rest] = text.replace(/^baseimages\//, '').split(':');
  const valid = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(name) && (channel === undefined || isTag(channel));
  if (!valid || rest.length > 0) {
    throw new UserError(`"${text}" is no base image; write NAME or NAME:CHANNEL, e.g. jdk:17`, {
      exitCode: 2,
    });
  }
  return channel === undefined ? { name } : { name, channel };
}
