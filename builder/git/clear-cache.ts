import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RepositoryCache } from './repository-cache.ts';

/** A repository that was used since may be in the middle of a push or a build. Milliseconds. */
const restMs = 15 * 60 * 1000;

interface CachedRepository {
  readonly team: string;
  readonly app: string;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
}

/**
 * Removes bare repositories of the cache, the longest unused first, until `enough` says so; those in use stay. Folders that a process left behind
 * when it died in the middle of making or removing one go first. `now`: milliseconds since 1970. Returns how many repositories went.
 */
export async function clearRepositoryCache(
  cache: Pick<RepositoryCache, 'discardUnused'>,
  options: { readonly root: string; readonly now: number; readonly enough: () => Promise<boolean> },
): Promise<number> {
  const { root, now, enough } = options;
  const found: CachedRepository[] = [];
  for (const team of await readdir(root)) {
    for (const name of await readdir(join(root, team))) {
      const usedAt = (await stat(join(root, team, name)).catch(() => undefined))?.mtimeMs;
      if (usedAt === undefined || now - usedAt < restMs) continue;
      if (name.endsWith('.git')) found.push({ team, app: name.slice(0, -4), usedAt });
      else await rm(join(root, team, name), { recursive: true, force: true });
    }
  }
  let removed = 0;
  for (const { team, app } of found.sort((a, b) => a.usedAt - b.usedAt)) {
    if (await enough()) break;
    if (await cache.discardUnused(team, app, now - restMs)) removed += 1;
  }
  return removed;
}
