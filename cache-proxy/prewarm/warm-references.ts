import { UserError } from '../../core/user-error.ts';
import { parseImageReference } from '../../oci/reference.ts';
import { originNames } from '../pools/name-space.ts';
import type { Pool } from '../pools/pool.ts';
import type { ImageName } from './image-reader.ts';

/** An image that somebody asks to be warm. */
export interface WarmReference extends ImageName {
  /** Tag or digest. */
  readonly reference: string;
}

/** Of one request. */
export const maxReferences = 1000;

/** As people write them: `team/app:1.2`, `team/app@sha256:…`, `docker.io/library/nginx`, or with the origin's name in front. Errors: UserError. */
export function parseWarmReferences(pool: Pool, texts: readonly string[]): WarmReference[] {
  if (texts.length > maxReferences) {
    throw new UserError(`at most ${maxReferences} images at a time: ${texts.length} were named`);
  }
  const own = new Set(originNames(pool));
  return texts.map((text) => {
    const image = parseImageReference(text);
    if (image === undefined)
      throw new UserError(`${JSON.stringify(text.slice(0, 200))} is no image: team/app:tag`);
    const { host, repository, tag = 'latest', digest } = image;
    const reference = digest ?? tag;
    if (host === undefined || own.has(host)) return { repository, reference };
    if (pool.upstreams.some(({ ns }) => ns === host)) return { ns: host, repository, reference };
    throw new UserError(`the pool ${pool.name} does not pull from ${host}: it is none of its upstreams`);
  });
}
