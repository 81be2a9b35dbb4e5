import { compileRepositoryGlob, matchWildcards } from '../../core/auth/repository-glob.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';

/** One pattern of `prewarm.always` or `prewarm.follow`: `team-a/**`, `base/jdk:17*`, with `docker.io/` in front for another upstream. */
export interface ImagePattern {
  /** Undefined: the pool's own origin. */
  readonly ns?: string;
  matchesRepository(repository: string): boolean;
  matchesTag(tag: string): boolean;
  /** Where the pattern can mean only one: nobody needs to be asked which repositories there are. */
  readonly repository?: string;
  /** Where the pattern can mean only one. */
  readonly tag?: string;
}

/** `namespaces`: names of the pool's other upstreams. Undefined: `text` can match no image. */
export function compileImagePattern(
  text: string,
  namespaces: readonly string[] = [],
): ImagePattern | undefined {
  const ns = namespaces.find((name) => text.startsWith(`${name}/`));
  const path = ns === undefined ? text : text.slice(ns.length + 1);
  const colon = path.indexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? '*' : path.slice(colon + 1);
  const matchesRepository = compileRepositoryGlob(repository);
  if (matchesRepository === undefined || !/^[A-Za-z0-9._*-]{1,128}$/.test(tag)) return undefined;
  return {
    ...(ns === undefined ? {} : { ns }),
    matchesRepository,
    matchesTag: (name) => matchWildcards(tag, name),
    ...(isRepositoryName(repository) ? { repository } : {}),
    ...(isTag(tag) ? { tag } : {}),
  };
}

export function matchesImage(
  pattern: ImagePattern,
  image: { readonly ns?: string; readonly repository: string; readonly tag: string },
): boolean {
  return (
    pattern.ns === image.ns && pattern.matchesRepository(image.repository) && pattern.matchesTag(image.tag)
  );
}
