import type { AppFile, AppFileBuild, AppFileTest } from '../appfile/appfile.ts';
import { appFileCodes } from '../appfile/codes.ts';
import { parseSeconds } from '../appfile/values.ts';
import { describeDeprecation, levelOn } from './deprecation.ts';
import type { BuildStep, PlannedBase, StepNetwork, TestStep } from './plan.ts';
import type { FoundBase, PlanInput } from './plan-build.ts';

/** Adds an error at a path of App.yaml. */
export type Fail = (
  path: readonly (string | number)[],
  code: string,
  message: string,
  hint?: string,
  severity?: 'error' | 'warning',
) => undefined;

const defaultTimeoutSeconds = 15 * 60;

/** The commands of App.yaml with the base images that they run in. */
export async function planSteps(options: {
  readonly input: PlanInput;
  readonly file: AppFile;
  readonly baseName: string | undefined;
  readonly base: PlannedBase | undefined;
  readonly fail: Fail;
}): Promise<{ build?: BuildStep; test?: TestStep }> {
  const { input, file, baseName, base, fail } = options;
  if (file.build === undefined && file.test === undefined) return {};
  const build = file.build === undefined ? undefined : normal(file.build);
  const test = file.test === undefined ? undefined : normal(file.test);
  const stepBase =
    build?.base === undefined
      ? await buildFlavour(input, baseName, base, fail)
      : await resolvePlanned(input, build.base, ['build', 'base'], fail);
  if (stepBase === undefined) return {};
  if (!stepBase.launcher) {
    const message = `${stepBase.name} has no shell to run the commands with`;
    const hint =
      build === undefined
        ? 'leave test out, or name a base with a shell'
        : 'name another one as base: under build:';
    fail([build === undefined ? 'test' : 'build'], appFileCodes.base, message, hint);
    return {};
  }
  const environment = build?.envs === undefined ? {} : { environment: { ...build.envs } };
  return {
    ...(build === undefined
      ? {}
      : {
          build: {
            base: stepBase,
            ...environment,
            ...secretsOf(build),
            ...(build.cache === undefined ? {} : { cache: build.cache }),
            commands: build.commands,
            outputs: { ...build.outputs },
            ...limitsOf(build),
          },
        }),
    ...(test === undefined
      ? {}
      : {
          test: {
            base: stepBase,
            ...environment,
            ...secretsOf(test),
            commands: test.commands,
            artifacts: test.artifacts ?? [],
            ...limitsOf(test),
          },
        }),
  };
}

function secretsOf({ secrets }: Pick<AppFileBuild, 'secrets'>): Pick<BuildStep, 'secrets'> {
  return secrets === undefined ? {} : { secrets };
}

/** The catalog's image of that name. */
export async function resolvePlanned(
  input: PlanInput,
  name: string,
  path: readonly string[],
  fail: Fail,
): Promise<PlannedBase | undefined> {
  const found = await input.resolveBase(name);
  if (!('error' in found)) return checkDeprecation(input, found, path, fail);
  const [near] = found.suggestions;
  const hint = near === undefined ? undefined : `did you mean "${near}"?`;
  const ofServer = path[0] === 'base' && input.appfile.appfile?.base === undefined;
  const error = ofServer ? `${found.error}, which builder.defaultBase of the server names` : found.error;
  return fail(path, appFileCodes.base, error, hint);
}

/** A text or a list is short for commands alone. */
function normal(
  step: string | readonly string[] | AppFileBuild | AppFileTest,
): AppFileBuild & Pick<AppFileTest, 'artifacts'> {
  if (typeof step === 'string') return { commands: [step] };
  return Array.isArray(step) ? { commands: step as readonly string[] } : (step as AppFileBuild);
}

/** The base must be there for each platform of the image. */
export async function checkPlatforms(
  input: PlanInput,
  base: PlannedBase,
  wanted: readonly string[],
  fail: Fail,
): Promise<void> {
  const found = await input.resolveBase(base.name);
  const has = 'error' in found ? undefined : await found.platforms?.();
  if (has === undefined) return;
  for (const [index, platform] of wanted.entries()) {
    // Without a variant, any of them will do.
    if (has.some((each) => each === platform || each.startsWith(`${platform}/`))) continue;
    const list = has.length === 0 ? 'none that is known' : has.join(', ');
    fail(
      ['platforms', index],
      appFileCodes.base,
      `${base.name} has no image for ${platform}; it has ${list}`,
    );
  }
}

function limitsOf(step: {
  readonly network?: StepNetwork | undefined;
  readonly timeout?: string | undefined;
}): Pick<BuildStep, 'network' | 'timeoutSeconds'> {
  return {
    network: step.network ?? 'open',
    timeoutSeconds: step.timeout === undefined ? defaultTimeoutSeconds : parseSeconds(step.timeout),
  };
}

/** `jdk:8` → `jdk-build:8` where the catalog has it: compilers stay out of the image that runs. */
async function buildFlavour(
  input: PlanInput,
  name: string | undefined,
  base: PlannedBase | undefined,
  fail: Fail,
): Promise<PlannedBase | undefined> {
  const match = name === undefined ? null : /^([^:@]+)(:[^@]+)?$/.exec(name);
  if (match === null || base === undefined) return base;
  const flavour = await input.resolveBase(`${match[1]}-build${match[2] ?? ''}`);
  return 'error' in flavour ? base : checkDeprecation(input, flavour, ['base'], fail);
}

/** Without what is no part of a plan: a deprecation that is announced changes no image. */
async function checkDeprecation(
  input: PlanInput,
  found: FoundBase,
  path: readonly string[],
  fail: Fail,
): Promise<PlannedBase | undefined> {
  const { deprecation, platforms: _, ...base } = found;
  if (deprecation === undefined) return base;
  const { replacement } = deprecation;
  const level = levelOn(input.today ?? new Date().toISOString().slice(0, 10), deprecation);
  if (level === undefined) return base;
  const message = describeDeprecation(base.name, deprecation);
  const hint = replacement === undefined ? undefined : `write ${replacement}`;
  if (level === 'block')
    return fail(path, appFileCodes.base, `${message}: no image can be built on it`, hint);
  if (level === 'block-new') {
    const repository = `${input.team}/${input.appfile.appfile?.appname ?? ''}`;
    if (input.hasImageOn !== undefined && !(await input.hasImageOn(repository, base))) {
      return fail(
        path,
        appFileCodes.base,
        `${message}: ${repository} has no image on it yet, and new ones are refused`,
        hint,
      );
    }
  }
  const closed = level === 'block-new' ? ', closed for new applications' : '';
  fail(path, appFileCodes.advice, `${message}${closed}`, hint, 'warning');
  return base;
}
