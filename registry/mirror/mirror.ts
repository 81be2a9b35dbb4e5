import { compileRepositoryGlob } from '../../core/auth/repository-glob.ts';
import { OciError } from '../../oci/errors.ts';
import type { Lister, Reader } from '../../oci/registry.ts';

/** What a mirror asks of the registry that it stands for. */
export type Upstream = Reader & Pick<Lister, 'listTags' | 'listReferrers'>;

/** Repositories under one prefix are pulled from one upstream. */
export interface MirrorOptions {
  /** `docker.io` covers `docker.io/library/nginx`, and not `docker.io` itself. */
  readonly prefix: string;
  /** `host[:port]`, for messages and the log. */
  readonly host: string;
  readonly upstream: Upstream;
  /** Globs over the upstream's own names (`library/*`); default all. */
  readonly allow?: readonly string[];
  /** Globs that `allow` does not help. */
  readonly deny?: readonly string[];
  /** Docker Hub's rule: a name of one part is in `library/`. Default false. */
  readonly library?: boolean;
  /** Milliseconds a tag is served before the upstream is asked again. Default 5 minutes. */
  readonly revalidateMs?: number;
}

/** Where a mirrored repository comes from. */
export interface Origin {
  readonly mirror: MirrorOptions;
  /** What the upstream calls the repository. */
  readonly name: string;
}

/**
 * Finds a repository's origin; undefined for repositories of our own. The longest prefix counts.
 * Errors: DENIED for a repository that the lists leave out, whether or not it is stored.
 */
export type FindOrigin = (repository: string) => Origin | undefined;

/** Errors: TypeError for a glob that can match nothing. */
export function createFindOrigin(mirrors: readonly MirrorOptions[]): FindOrigin {
  const entries = mirrors
    .map((mirror) => ({ mirror, allow: compile(mirror.allow), deny: compile(mirror.deny) }))
    .toSorted((a, b) => b.mirror.prefix.length - a.mirror.prefix.length);
  return (repository) => {
    const entry = entries.find(({ mirror }) => repository.startsWith(`${mirror.prefix}/`));
    if (entry === undefined) return undefined;
    const { mirror, allow, deny } = entry;
    const written = repository.slice(mirror.prefix.length + 1);
    const name = mirror.library === true && !written.includes('/') ? `library/${written}` : written;
    const allowed = allow.length === 0 || allow.some((matches) => matches(name));
    if (!allowed || deny.some((matches) => matches(name))) {
      throw new OciError('DENIED', { message: `${name} of ${mirror.host} is not mirrored here` });
    }
    return { mirror, name };
  };
}

function compile(globs: readonly string[] = []): ((name: string) => boolean)[] {
  return globs.map((glob) => {
    const compiled = compileRepositoryGlob(glob);
    if (compiled === undefined) throw new TypeError(`${glob} matches no repository`);
    return compiled;
  });
}
