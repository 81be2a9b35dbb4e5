import { type Digest, isDigest } from '../../oci/digest.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { ImagePattern } from './image-pattern.ts';
import { acceptManifests, type ImageName } from './image-reader.ts';

/** A short question to a registry with the pool's account, as the agent's client asks it. Errors: no answer, 429 or 5xx. */
export type AskRegistry = (
  request: {
    readonly method: 'GET' | 'HEAD';
    readonly target: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
  scope: string,
) => Promise<{
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}>;

export interface FollowedTag extends ImageName {
  readonly tag: string;
}

/** What registries have that patterns mean. */
export interface TagFinder {
  /** Tags that match, at most so many. Errors: those of asking. A registry without a catalog has what patterns name exactly. */
  find(patterns: readonly ImagePattern[], limit: number): Promise<FollowedTag[]>;
  /** Where the tag points. Undefined: there is none, or the pool may not see it. Errors: those of asking. */
  resolve(tag: FollowedTag): Promise<Digest | undefined>;
}

/** Of one list; what has more is to be named more exactly. */
const maxListed = 10_000;
/** Of one repository that a pattern matches without naming tags. Those at the end of the registry's order: versions grow. */
const maxTags = 100;

/** `askOf`: how the registry of a namespace is asked; undefined: the pool has no such upstream. */
export function createTagFinder(askOf: (ns: string | undefined) => AskRegistry | undefined): TagFinder {
  async function list(ns: string | undefined, path: string, field: string, scope: string): Promise<string[]> {
    const ask = askOf(ns);
    const found: string[] = [];
    let target: string | undefined = `${path}?n=1000`;
    while (ask !== undefined && target !== undefined && found.length < maxListed) {
      const { status, headers, body }: Awaited<ReturnType<AskRegistry>> = await ask(
        { method: 'GET', target },
        scope,
      );
      if (status !== 200) break;
      found.push(...readNames(body, field));
      target = nextPage(headers.link, path);
    }
    return found;
  }

  async function repositoriesOf(pattern: ImagePattern): Promise<string[]> {
    if (pattern.repository !== undefined) return [pattern.repository];
    const all = await list(pattern.ns, '/v2/_catalog', 'repositories', 'registry:catalog:*');
    return all.filter((name) => isRepositoryName(name) && pattern.matchesRepository(name));
  }

  return {
    async find(patterns, limit) {
      const found = new Map<string, FollowedTag>();
      for (const pattern of patterns) {
        const { ns, tag } = pattern;
        for (const repository of await repositoriesOf(pattern)) {
          const tags =
            tag === undefined
              ? (await list(ns, `/v2/${repository}/tags/list`, 'tags', pullScope(repository)))
                  .filter((name) => isTag(name) && pattern.matchesTag(name))
                  .slice(-maxTags)
              : [tag];
          for (const name of tags) {
            if (found.size >= limit) return [...found.values()];
            const followed = { ...(ns === undefined ? {} : { ns }), repository, tag: name };
            found.set(`${ns ?? ''} ${repository}:${name}`, followed);
          }
        }
      }
      return [...found.values()];
    },
    async resolve({ ns, repository, tag }) {
      const ask = askOf(ns);
      if (ask === undefined) return undefined;
      const target = `/v2/${repository}/manifests/${tag}`;
      const headers = { accept: acceptManifests };
      const answer = await ask({ method: 'HEAD', target, headers }, pullScope(repository));
      const digest = answer.headers['docker-content-digest'];
      return answer.status === 200 && typeof digest === 'string' && isDigest(digest) ? digest : undefined;
    },
  };
}

export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}

function readNames(body: Buffer, field: string): string[] {
  try {
    const names = (JSON.parse(body.toString('utf8')) as Record<string, unknown>)[field];
    return Array.isArray(names) ? names.filter((name): name is string => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

/** Only the query is taken from what the registry says (RFC 8288): it leads nowhere else. */
function nextPage(link: string | string[] | undefined, path: string): string | undefined {
  const target = /<([^>]{1,2000})>\s*;\s*rel="?next"?/.exec(String(link ?? ''))?.[1];
  const query = target?.split('?', 2)[1];
  return query === undefined ? undefined : `${path}?${query}`;
}
