import { isOciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';
import { baseNameAnnotation } from '../image-annotations.ts';
import type { HasImageOn } from '../plan/plan-build.ts';

/** Tags that are looked at: whoever has more has used the base for long. */
const mostTags = 200;

/** Whether one of the tags of an image repository is on this base, by the annotation that each build leaves. */
export function createImageOnBase(registry: Registry): HasImageOn {
  return async (repository, base) => {
    const wanted = `${base.repository}${base.name.slice(base.name.indexOf(':'))}`;
    try {
      const { entries } = await registry.listTags(repository, { limit: mostTags });
      for (const tag of entries) {
        const { bytes } = await registry.getManifest(repository, tag);
        const { annotations } = JSON.parse(bytes.toString('utf8')) as {
          annotations?: Record<string, unknown>;
        };
        if (annotations?.[baseNameAnnotation] === wanted) return true;
      }
      return false;
    } catch (error) {
      // A tag may go while it is looked at.
      if (isOciError(error, 'NAME_UNKNOWN') || isOciError(error, 'MANIFEST_UNKNOWN')) return false;
      throw error;
    }
  };
}
