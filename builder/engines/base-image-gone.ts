import { isOciError, type OciErrorCode } from '../../oci/errors.ts';
import type { PlannedBase } from '../plan/plan.ts';

/**
 * A base image that the plan found is no more, or a part of it: somebody deleted or replaced it meanwhile. No fault of the
 * commit, and none of the farm: a new attempt plans with what there is then, and says so where there is nothing.
 */
export class BaseImageGone extends Error {
  override readonly name = 'BaseImageGone';
  constructor(base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>, cause: unknown) {
    super(
      `the base image ${base.name} (${base.repository}@${base.digest}) was deleted or replaced during the build`,
      { cause },
    );
  }
}

const gone: readonly OciErrorCode[] = ['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'BLOB_UNKNOWN'];

/** Runs what reads a base image's parts. Errors: BaseImageGone when one is not there; all others as they are. */
export async function readingBase<T>(
  base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (gone.some((code) => isOciError(error, code))) throw new BaseImageGone(base, error);
    throw error;
  }
}
