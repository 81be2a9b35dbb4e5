import type { Authorizer } from '../../core/auth/authorizer.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { type JobContext, JobFailed, type JobQueue, type JobRecord } from '../../core/queue/job-queue.ts';
import { formatImageReference } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BuildEngine, EngineResult, Sandbox } from '../engines/engine.ts';
import type { CommitTree, GitHost } from '../git/git-host.ts';
import type { BuildPlan, PlannedBase } from '../plan/plan.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import type { SecretStore } from '../secrets/secret-store.ts';
import type { ArtifactWriter } from './artifact-store.ts';
import { type BuildCachesDeps, buildCaches } from './build-caches.ts';
import type { AppRecorder } from './build-recorder.ts';
import { type BuildRequest, isForkRef, repositoryOf } from './build-request.ts';
import { createImageRecords } from './image-records.ts';
import { tagsOfBuild, type WantedTag } from './image-tags.ts';
import { isThere, type MadeImage, makeOnce } from './make-once.ts';
import type { CommitPlanner } from './plan-commit.ts';
import { describeLayers, formatDuration, formatStep } from './report.ts';
import { runSteps } from './run-steps.ts';
import { type SetTagsResult, setTags } from './set-tags.ts';
import { freeTags, noProtection, type TagProtection } from './tag-protection.ts';
import { createTagRecords } from './tag-records.ts';
import { keyWithSecrets, withSecrets } from './with-secrets.ts';

export interface AppBuildDeps {
  readonly store: ObjectStore;
  /** The queue of builds. */
  readonly jobs: Pick<JobQueue, 'get'>;
  readonly git: Pick<GitHost, 'resolveRef'>;
  readonly registry: Registry;
  readonly engine: BuildEngine;
  /** Undefined: no container engine answers, so no commands can run. */
  readonly sandbox?: Sandbox;
  /** Where dependencies are kept between builds; without it they are fetched anew. */
  readonly caches?: BuildCachesDeps;
  /** What App.yaml may name under `secrets`. */
  readonly secrets?: SecretStore;
  /** The rules; asked whether a pusher may push to an image repository that is not named like the git repository. */
  readonly authorizer: Authorizer;
  readonly planCommit: CommitPlanner;
  /** Told of every image whose tags are set: its base may have moved while it was made. */
  readonly onImage?: (repository: string, base: PlannedBase) => Promise<void>;
  /** Tags that only promotions move; default none. */
  readonly protection?: TagProtection;
  /** `host[:port]` of the configured public address: goes before what the pusher used. */
  readonly publicHost?: string;
  /** Base of `org.opencontainers.image.source`, e.g. `https://registry.example.com`. */
  readonly publicUrl?: string;
}

/** What became of one application. */
export interface AppBuildOutcome {
  /** Of its App.yaml in the repository, '' for the top. */
  readonly directory: string;
  readonly repository: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly reference: string;
  /** Undefined: nothing had to be made. */
  readonly engine?: EngineResult;
  /** Id of the earlier build whose image it is. */
  readonly madeBy?: string;
}

/** One application of a commit. */
export interface AppBuildInput {
  readonly request: BuildRequest;
  readonly job: JobRecord;
  readonly context: JobContext;
  readonly commit: Pick<CommitTree, 'commit' | 'committedAt'>;
  /** Its own files. */
  readonly source: SourceTree;
  readonly directory: string;
  /** Stands in for a missing appname. */
  readonly defaultName: string;
  /** Image repositories of this build so far, with the folder that has each: no two applications can be one. */
  readonly taken: Map<string, string>;
  readonly artifacts: ArtifactWriter;
  /** Notes what the image is made of, and where the time goes. */
  readonly record?: AppRecorder;
  readonly write: (line: string) => void;
}

/**
 * From App.yaml to the tags, telling of every step. An application in a folder of its repository is built when its files changed, or its base in a
 * way that asks for it; the one at the top with each push. Undefined: a wave asked for another application's image. Errors: JobFailed, UserError (faults of the commit), BaseImageGone, and those of the farm.
 */
export async function buildApp(
  deps: AppBuildDeps,
  input: AppBuildInput,
): Promise<AppBuildOutcome | undefined> {
  const started = performance.now();
  const { request, context, commit, source, directory, write, record } = input;
  const { signal } = context;
  const { plan } = await deps.planCommit({
    request: { ...request, app: input.defaultName },
    owner: repositoryOf(request),
    source,
    directory,
    write,
  });
  record?.phase('plan', performance.now() - started);
  if (request.wave !== undefined && request.wave.repository !== plan.repository) return undefined;
  record?.planned(plan, { commit: commit.commit, key: source.key, engine: deps.engine.name });
  takeRepository(input, plan);
  checkRights(deps.authorizer, request, plan);
  const { protection = noProtection } = deps;
  const tags = freeTags(tagsOfBuild(request, commit.commit), (tag) =>
    protection.protects(plan.repository, tag),
  );
  const records = createTagRecords(deps.store);
  const mayTakeOver = createTakeOver(deps.git);
  await refuseClash(records, plan.repository, tags.moving[0], mayTakeOver);
  signal.throwIfAborted();

  // Where nothing changed, the result is that of the same files and the same secrets.
  const tree =
    directory === '' ? undefined : await keyWithSecrets(source.key, { secrets: deps.secrets, request, plan });
  const known =
    tree === undefined ? undefined : await unchangedImage(deps, input, plan, tree, tags.moving[0]);
  if (known !== undefined) write(`  = its files are those of build ${known.build}: nothing to make`);
  const { digest, build, engine } =
    known ?? (await makeOnce(deps, input, plan, () => makeImage(deps, input, plan)));

  const tagging = performance.now();
  // At the same time: a record of an image that gets no tag in the end is no harm.
  const remembering = known === undefined ? rememberImage(deps, input, plan, { digest, build }) : undefined;
  const setting = setTags(
    { registry: deps.registry, records, mayTakeOver, confirm: () => context.confirmLease() },
    {
      repository: plan.repository,
      digest,
      moving: tags.moving,
      fixed: tags.fixed,
      sequence: request.sequence,
      build,
      ...(tree === undefined ? {} : { tree }),
    },
  );
  const [set] = await Promise.all([setting, remembering]);
  reportTags(write, set, performance.now() - tagging);
  record?.phase('tags', performance.now() - tagging);
  record?.made({
    digest,
    ...(engine === undefined ? {} : { engine }),
    ...(engine === undefined ? { unchanged: build } : {}),
  });
  for (const tag of tags.left) write(`  ! ${tag} is left alone: "brickyard images promote" sets it`);
  await deps.onImage?.(plan.repository, plan.base);
  const reference = referenceOf(deps, request, plan, set.set[0]);
  const how = engine === undefined ? 'done' : 'built';
  write(`\n  ${reference}\n  ${digest}\n  ${how} in ${formatDuration(performance.now() - started)}`);
  return {
    directory,
    repository: plan.repository,
    digest,
    tags: set.set,
    reference,
    ...(engine === undefined ? { madeBy: build } : { engine }),
  };
}

function makeImage(deps: AppBuildDeps, input: AppBuildInput, plan: BuildPlan): Promise<EngineResult> {
  const { context, source, request } = input;
  return withSecrets({ secrets: deps.secrets, request, plan, told: input }, async (secrets, told) => {
    const caches = deps.caches === undefined ? [] : await buildCaches(deps.caches, { request, plan, source });
    const given = { caches, ...(secrets === undefined ? {} : { secrets }) };
    const outputs = await runSteps(deps.sandbox, { ...input, ...told }, plan, given);
    const assembling = performance.now();
    const result = await deps.engine.build(
      {
        plan,
        source,
        ...(outputs === undefined ? {} : { outputs }),
        annotations: annotationsOf(deps, input, plan),
        // Tags are set by the farm: it knows which push is the newer one.
        tags: [],
      },
      { signal: context.signal, log: told.write },
    );
    told.write(formatStep('image', describeLayers(result), performance.now() - assembling));
    input.record?.phase('assemble', performance.now() - assembling);
    return result;
  });
}

/** The image that an earlier push made of the same files, when it is the one that its tag should have and is still there. */
async function unchangedImage(
  deps: AppBuildDeps,
  { request, job }: AppBuildInput,
  plan: BuildPlan,
  tree: string,
  wanted: WantedTag | undefined,
): Promise<MadeImage | undefined> {
  if (wanted === undefined) return undefined;
  const record = await createTagRecords(deps.store).read(plan.repository, wanted.tag);
  if (record === undefined || record.source !== wanted.source || record.tree !== tree) return undefined;
  // The same push once more asks for a new image, unless this very build made it before its worker died.
  if (record.sequence >= request.sequence && record.build !== job.id) return undefined;
  return (await isThere(deps.registry, plan.repository, record.digest)) ? record : undefined;
}

/** For promotions, where it costs nobody time: after tests, and where a rule may ask for it. What pull requests of strangers bring counts for nothing. */
async function rememberImage(
  { store, protection = noProtection }: AppBuildDeps,
  { request, commit }: AppBuildInput,
  plan: BuildPlan,
  { digest, build }: Pick<MadeImage, 'digest' | 'build'>,
): Promise<void> {
  const tested = plan.test !== undefined;
  if (!tested && !protection.concerns(plan.repository)) return;
  if (request.trusted === false || isForkRef(request.ref)) return;
  const { ref } = request;
  await createImageRecords(store).add(plan.repository, digest, {
    build,
    ref,
    commit: commit.commit,
    tested,
  });
}

function takeRepository({ taken, directory }: AppBuildInput, plan: BuildPlan): void {
  const other = taken.get(plan.repository);
  if (other === undefined) taken.set(plan.repository, directory);
  else {
    const place = other === '' ? 'at the top' : `in ${other}`;
    throw new JobFailed(`the App.yaml ${place} has the appname "${plan.appname}" too; write another one`);
  }
}

function checkRights(authorizer: Authorizer, request: BuildRequest, plan: BuildPlan): void {
  if (plan.repository === repositoryOf(request)) return;
  if (isForkRef(request.ref)) {
    throw new JobFailed(
      `appname "${plan.appname}" asks for the image repository ${plan.repository}, and a pull request of a fork gets ${repositoryOf(request)} only`,
    );
  }
  const principal = { name: request.pusher, anonymous: request.pusher === 'anonymous' };
  if (authorizer.may(principal, 'push', plan.repository)) return;
  throw new JobFailed(
    `appname "${plan.appname}" asks for the image repository ${plan.repository}, and ${request.pusher} may not push there`,
  );
}

/** Early, before anything is built. */
async function refuseClash(
  records: ReturnType<typeof createTagRecords>,
  repository: string,
  wanted: { tag: string; source: string } | undefined,
  mayTakeOver: (source: string) => Promise<boolean>,
): Promise<void> {
  if (wanted === undefined) return;
  const record = await records.read(repository, wanted.tag);
  if (record === undefined || record.source === wanted.source || (await mayTakeOver(record.source))) return;
  throw new JobFailed(
    `the tag ${repository}:${wanted.tag} belongs to ${record.source}; rename the branch or tag, or delete the other one`,
  );
}

/** A tag is free again when the ref that held it is gone. */
function createTakeOver(git: Pick<GitHost, 'resolveRef'>): (source: string) => Promise<boolean> {
  return async (source) => {
    const match = /^([^ /]+)\/([^ /]+) (refs\/.+)$/.exec(source);
    if (match === null) return false;
    const [, team = '', app = '', ref = ''] = match;
    return (await git.resolveRef(team, app, ref)) === undefined;
  };
}

function annotationsOf(
  deps: AppBuildDeps,
  { request, commit }: AppBuildInput,
  plan: BuildPlan,
): Record<string, string> {
  const annotations: Record<string, string> = {
    'org.opencontainers.image.created': commit.committedAt.toISOString(),
    'org.opencontainers.image.revision': commit.commit,
    'org.opencontainers.image.title': plan.appname,
  };
  if (deps.publicUrl !== undefined) {
    const base = deps.publicUrl.replace(/\/+$/, '');
    annotations['org.opencontainers.image.source'] = `${base}/git/${repositoryOf(request)}.git`;
  }
  return annotations;
}

function reportTags(write: (line: string) => void, set: SetTagsResult, milliseconds: number): void {
  write(formatStep('tags', set.set.join(', ') || 'none', milliseconds));
  for (const tag of set.superseded) write(`  ! ${tag} stays where it is: a newer push has it`);
  for (const { tag, with: record } of set.clashes)
    write(`  ! ${tag} is left alone: it belongs to ${record.source}`);
}

function referenceOf(deps: AppBuildDeps, request: BuildRequest, plan: BuildPlan, tag = ''): string {
  const host = deps.publicHost ?? request.host;
  return formatImageReference({
    repository: plan.repository,
    ...(host === undefined ? {} : { host }),
    ...(tag === '' ? {} : { tag }),
  });
}
