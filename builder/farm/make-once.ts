import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';
import type { EngineResult } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';
import type { AppBuildDeps, AppBuildInput } from './build-app.ts';
import { createResultCache, resultKey } from './result-cache.ts';
import { keyWithSecrets } from './with-secrets.ts';

/** An image, and the build that made it. */
export interface MadeImage {
  readonly digest: Digest;
  readonly build: string;
  /** Undefined: it was there before. */
  readonly engine?: EngineResult;
}

/**
 * The image of a plan whose commands have run before over the same files, or that of `make`. A plan without commands is always made: that takes less time than
 * asking whether it has to be, and the image names its own commit.
 */
export async function makeOnce(
  deps: Pick<AppBuildDeps, 'store' | 'jobs' | 'registry' | 'secrets'>,
  input: Pick<AppBuildInput, 'request' | 'job' | 'context' | 'source' | 'write'>,
  plan: BuildPlan,
  make: () => Promise<EngineResult>,
): Promise<MadeImage> {
  const { request, job, context, source, write } = input;
  const run = async (): Promise<MadeImage & { readonly engine: EngineResult }> => {
    const engine = await make();
    return { digest: engine.manifest.digest, build: job.id, engine };
  };
  if (plan.build === undefined && plan.test === undefined && plan.staticScript === undefined) return run();
  const results = createResultCache({
    store: deps.store,
    jobs: deps.jobs,
    isThere: (repository, digest) => isThere(deps.registry, repository, digest),
  });
  const result = await results.once(
    {
      repository: plan.repository,
      key: resultKey(plan, await keyWithSecrets(source.key, { secrets: deps.secrets, request, plan })),
      // What a stranger's commands made is nobody else's.
      ...(request.trusted === false ? { scope: 'untrusted' } : {}),
      build: job.id,
      fresh: request.fresh ?? false,
      signal: context.signal,
      onWait: (build) => write(`  … build ${build} is just making the same: waiting for it`),
    },
    run,
  );
  if ('made' in result) return result.made;
  write(`  = build ${result.known.build} ran the same commands over the same files: nothing to make`);
  return result.known;
}

/** Whether a manifest is in the registry. */
export async function isThere(registry: Registry, repository: string, digest: Digest): Promise<boolean> {
  try {
    await registry.resolveManifest(repository, digest);
    return true;
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return false;
    throw error;
  }
}
