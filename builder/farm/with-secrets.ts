import { JobFailed } from '../../core/queue/job-queue.ts';
import { digestOf } from '../../oci/digest.ts';
import type { StepSecrets } from '../engines/engine.ts';
import type { BuildPlan } from '../plan/plan.ts';
import { createSecretFinder } from '../secrets/find-secret.ts';
import { createMasker, type Masker } from '../secrets/masker.ts';
import { type SecretStore, SecretsLocked } from '../secrets/secret-store.ts';
import type { ArtifactWriter } from './artifact-store.ts';
import { type BuildRequest, repositoryOf } from './build-request.ts';

/** What a build tells and keeps. */
export interface Told {
  readonly write: (line: string) => void;
  readonly artifacts: ArtifactWriter;
}

/** Names of all secrets that the plan's steps ask for. */
export function secretNames({ build, test }: Pick<BuildPlan, 'build' | 'test'>): readonly string[] {
  return [...new Set([...(build?.secrets ?? []), ...(test?.secrets ?? [])])];
}

/**
 * Does `work` with the secrets that the plan names; undefined where it names none, or where the source is not trusted with them. None of them stands in what is
 * told, kept or thrown meanwhile. Errors: JobFailed when they cannot be read; those of `work`.
 */
export async function withSecrets<T>(
  input: {
    readonly secrets?: Pick<SecretStore, 'open'> | undefined;
    readonly request: Pick<BuildRequest, 'team' | 'app' | 'trusted'>;
    readonly plan: BuildPlan;
    readonly told: Told;
  },
  work: (secrets: StepSecrets | undefined, told: Told) => Promise<T>,
): Promise<T> {
  const { request, plan, told } = input;
  const names = secretNames(plan);
  if (names.length === 0 || input.secrets === undefined) return work(undefined, told);
  if (request.trusted === false) {
    told.write(`  ! ${names.join(', ')}: secrets are not given to builds of what forks propose`);
    return work(undefined, told);
  }
  const values = await open(input.secrets, repositoryOf(request), names);
  const masker = createMasker(values);
  try {
    return await work({ values, masker, finder: createSecretFinder(values) }, maskedTold(told, masker));
  } catch (error) {
    if (!(error instanceof JobFailed)) throw error;
    throw new JobFailed(masker.mask(error.message), { cause: error.cause });
  }
}

async function open(
  secrets: Pick<SecretStore, 'open'>,
  owner: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  try {
    return await secrets.open(owner, names);
  } catch (error) {
    // Another attempt would find the same key; somebody has to configure the right one.
    if (error instanceof SecretsLocked) throw new JobFailed(error.message, { cause: error });
    throw error;
  }
}

function maskedTold({ write, artifacts }: Told, masker: Masker): Told {
  return {
    write: (line) => write(masker.mask(line)),
    artifacts: {
      add: (kept) =>
        artifacts.add(
          kept.map(({ path, content }) => ({ path: masker.mask(path), content: masker.bytes(content) })),
        ),
    },
  };
}

/**
 * `sourceKey` together with the versions of the secrets that the build uses: a result of old ones is not that of new ones. Equal to `sourceKey` where
 * none are used.
 */
export async function keyWithSecrets(
  sourceKey: string,
  {
    secrets,
    request,
    plan,
  }: {
    readonly secrets?: Pick<SecretStore, 'versions'> | undefined;
    readonly request: Pick<BuildRequest, 'team' | 'app' | 'trusted'>;
    readonly plan: Pick<BuildPlan, 'build' | 'test'>;
  },
): Promise<string> {
  const names = secretNames(plan);
  if (names.length === 0 || secrets === undefined) return sourceKey;
  const versions = request.trusted === false ? {} : await secrets.versions(repositoryOf(request), names);
  return digestOf(JSON.stringify(['brickyard secrets 1', sourceKey, versions]));
}
