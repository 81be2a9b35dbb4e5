import { createHash } from 'node:crypto';
import type { CacheLimits } from '../cache/cache-archive.ts';
import type { CacheScope, DependencyCaches } from '../cache/dependency-cache.ts';
import { chooseCaches } from '../cache/dependency-kinds.ts';
import type { BuildCache } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import { type BuildRequest, repositoryOf } from './build-request.ts';

/** Where dependency caches are, and how much is kept. */
export interface BuildCachesDeps {
  readonly caches: DependencyCaches;
  readonly limits: CacheLimits;
}

/** The dependency caches of one application's commands. */
export async function buildCaches(
  { caches, limits }: BuildCachesDeps,
  input: {
    readonly request: Pick<BuildRequest, 'team' | 'app' | 'ref' | 'defaultBranch' | 'trusted'>;
    readonly plan: BuildPlan;
    readonly source: SourceTree;
  },
): Promise<readonly BuildCache[]> {
  const { request, plan, source } = input;
  const step = plan.build ?? plan.test;
  if (step === undefined || plan.build?.cache === false) return [];
  const scope: CacheScope = {
    owner: repositoryOf(request),
    appname: plan.appname,
    base: step.base.name,
    ...scopesOf(request),
  };
  return chooseCaches(plan.build?.cache, await source.entries()).map((cache) => ({
    name: cache.name,
    place: cache.place,
    paths: cache.paths,
    limits,
    find: () => caches.find(scope, cache),
    ...(scope.write === undefined
      ? {}
      : { save: (archive, signal) => caches.save(scope, cache, archive, signal) }),
  }));
}

/**
 * Who shares a cache. The default branch has one that only it writes; everybody may read it. Other branches have one of their own beside it, so what a
 * branch put into its cache reaches nobody else. Tags and working trees come once, and whoever is not trusted leaves nothing.
 */
export function scopesOf({
  ref,
  defaultBranch,
  trusted = true,
}: Pick<BuildRequest, 'ref' | 'defaultBranch' | 'trusted'>): Pick<CacheScope, 'read' | 'write'> {
  const main = 'protected';
  if (!trusted || !ref.startsWith('refs/heads/')) return { read: [main] };
  if (defaultBranch) return { read: [main], write: main };
  const own = `ref-${createHash('sha256').update(ref).digest('hex').slice(0, 16)}`;
  return { read: [own, main], write: own };
}
