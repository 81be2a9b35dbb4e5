import type { Descriptor } from '../descriptor.ts';
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../digest.ts';
import { isOciError, OciError } from '../errors.ts';
import { mediaTypes } from '../media-types.ts';
import type { Lister, Page, PageOptions } from '../registry.ts';
import type { Route } from '../route.ts';
import { isObject, readJson } from './answers.ts';
import type { ClientSession } from './session.ts';
import type { Answer } from './transport.ts';

/** A page of names or descriptors; servers send up to 4 MiB of referrers, and some send all tags at once. */
const listLimit = 32 * 1024 * 1024;

export function createClientLister(session: ClientSession): Lister {
  return {
    async listTags(repository, page) {
      return listNames({ kind: 'tags', repository }, 'tags', page);
    },
    async listRepositories(page) {
      return listNames({ kind: 'catalog' }, 'repositories', page);
    },
    async listReferrers(repository, digest, { artifactType, ...page }) {
      const route = { kind: 'referrers', repository, digest } as const;
      const query = { artifactType, n: String(page.limit), last: page.last };
      let answer: Answer;
      try {
        answer = await session.call({ method: 'GET', route, query });
      } catch (error) {
        if (!isOciError(error) || error.status !== 404) throw error;
        return pageOf(
          await taggedReferrers(repository, digest, artifactType),
          page,
          undefined,
          digestOfEntry,
        );
      }
      const body = await readJson(answer.body, listLimit);
      const entries = wanted(descriptorsOf(body), artifactType);
      return pageOf(entries, page, lastOf(answer), digestOfEntry);
    },
  };

  async function listNames(route: Route, field: string, page: PageOptions): Promise<Page<string>> {
    const query = { n: String(page.limit), last: page.last };
    const answer = await session.call({ method: 'GET', route, query });
    const body = await readJson(answer.body, listLimit);
    // An empty list is `null` in some Go programs.
    const names = body[field] ?? [];
    if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
      throw new OciError('UNAVAILABLE', { message: `${answer.url.host} sent no list of ${field}` });
    }
    const linked = lastOf(answer);
    // distribution before 3.1 knows no pages of tags and sends all of them in its file system's order.
    const { last } = page;
    const ordered =
      linked !== undefined
        ? (names as readonly string[])
        : (names as readonly string[])
            .filter((name) => last === undefined || name > last)
            .toSorted(byCharacter);
    return pageOf(ordered, page, linked, (name) => name);
  }

  /** distribution-spec "Unavailable Referrers API": an index under a tag made from the digest. */
  async function taggedReferrers(
    repository: string,
    digest: Digest,
    artifactType: string | undefined,
  ): Promise<readonly Descriptor[]> {
    const reference = `${digestAlgorithm(digest)}-${digestHex(digest)}`.slice(0, 128);
    try {
      const answer = await session.call({
        method: 'GET',
        route: { kind: 'manifest', repository, reference },
        // docker-registry answers 404 for an index that nobody says he would take.
        headers: { accept: mediaTypes.ociIndex },
      });
      return wanted(descriptorsOf(await readJson(answer.body, listLimit)), artifactType);
    } catch (error) {
      if (isOciError(error) && error.status === 404) return [];
      throw error;
    }
  }
}

/** Cuts what a server sent although it was not asked for: it may know neither `n` nor `last`. */
function pageOf<T>(
  entries: readonly T[],
  page: PageOptions,
  linked: string | undefined,
  keyOf: (entry: T) => string,
): Page<T> {
  const seen = page.last === undefined ? -1 : entries.findIndex((entry) => keyOf(entry) === page.last);
  const rest = entries.slice(seen + 1);
  const kept = rest.slice(0, page.limit);
  const last = kept.at(-1);
  if (kept.length < rest.length)
    return last === undefined ? { entries: kept } : { entries: kept, next: keyOf(last) };
  return linked === undefined ? { entries: kept } : { entries: kept, next: linked };
}

/** Names are ASCII, so this is the byte order that the specification wants. */
function byCharacter(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** What the `Link` to the next page passes as `last`. */
function lastOf(answer: Answer): string | undefined {
  const { link } = answer.headers;
  const match = /<([^>]*)>\s*;[^,]*rel="?next"?/i.exec(Array.isArray(link) ? link.join(',') : (link ?? ''));
  const target = match?.[1];
  if (target === undefined || !URL.canParse(target, answer.url)) return undefined;
  return new URL(target, answer.url).searchParams.get('last') ?? undefined;
}

function descriptorsOf(index: Record<string, unknown>): readonly Descriptor[] {
  const manifests = index['manifests'];
  return Array.isArray(manifests) ? manifests.filter((entry) => isDescriptor(entry)) : [];
}

function isDescriptor(value: unknown): value is Descriptor {
  return (
    isObject(value) &&
    typeof value['mediaType'] === 'string' &&
    typeof value['digest'] === 'string' &&
    isDigest(value['digest']) &&
    Number.isSafeInteger(value['size'])
  );
}

function wanted(entries: readonly Descriptor[], artifactType: string | undefined): readonly Descriptor[] {
  return artifactType === undefined
    ? entries
    : entries.filter((entry) => entry.artifactType === artifactType);
}

function digestOfEntry(entry: Descriptor): string {
  return entry.digest;
}
