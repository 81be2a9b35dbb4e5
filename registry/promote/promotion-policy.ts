import { compileRepositoryGlob, type RepositoryGlob } from '../../core/auth/repository-glob.ts';

/** What a digest must have behind it: its tests passed in this farm, this farm built it, nothing. */
export type PromotionRequirement = 'tests' | 'built' | 'none';

/** One line of `registry.promotion`: these tags are set by promotions alone. */
export interface PromotionRule {
  /** Patterns over repository names (`core/auth/repository-glob.ts`). */
  readonly repositories: string | readonly string[];
  /** Patterns over tags; `*` stands for any characters. */
  readonly tags: string | readonly string[];
  readonly require: PromotionRequirement;
  /** Patterns over tags of the repository that the image comes from, one of which must name it when it is promoted; none = any image. */
  readonly from?: string | readonly string[];
  /** Accounts that may promote; none = everybody who may push there. */
  readonly by?: readonly string[];
}

/** The rules, ready to be asked. */
export interface PromotionPolicy {
  /** All rules about a tag: each must be kept. None: the tag is set like any other. */
  rulesFor(repository: string, tag: string): readonly CompiledPromotionRule[];
  /** Only a promotion may set, move or remove the tag. */
  protects(repository: string, tag: string): boolean;
  /** Some tag of the repository is protected. */
  concerns(repository: string): boolean;
}

export interface CompiledPromotionRule {
  readonly require: PromotionRequirement;
  readonly from: readonly string[];
  readonly comesFrom: (tag: string) => boolean;
  /** Undefined = everybody. */
  readonly by: ReadonlySet<string> | undefined;
}

/** Errors: RangeError for a pattern that is none (the configuration is checked before). */
export function createPromotionPolicy(rules: readonly PromotionRule[]): PromotionPolicy {
  const compiled = rules.map((rule) => {
    const repositories = listOf(rule.repositories).map(toRepositoryGlob);
    const tags = listOf(rule.tags).map(compileTagGlob);
    const from = listOf(rule.from ?? []);
    const sources = from.map(compileTagGlob);
    return {
      repositories,
      tags,
      require: rule.require,
      from,
      comesFrom: (tag: string) => sources.some((matches) => matches(tag)),
      by: rule.by === undefined || rule.by.length === 0 ? undefined : new Set(rule.by),
    };
  });
  const rulesFor = (repository: string, tag: string): readonly CompiledPromotionRule[] =>
    compiled.filter(
      (rule) =>
        rule.repositories.some((glob) => glob(repository)) && rule.tags.some((matches) => matches(tag)),
    );
  return {
    rulesFor,
    protects: (repository, tag) => rulesFor(repository, tag).length > 0,
    concerns: (repository) => compiled.some((rule) => rule.repositories.some((glob) => glob(repository))),
  };
}

/** `prod*`, `v1.*`: `*` stands for any characters, everything else for itself. */
export function compileTagGlob(pattern: string): (tag: string) => boolean {
  const parts = pattern.split(/\*+/).map((part) => part.replaceAll(/[\\^$.+?()[\]{}|]/g, String.raw`\$&`));
  const expression = new RegExp(`^${parts.join('.*')}$`);
  return (tag) => expression.test(tag);
}

function toRepositoryGlob(pattern: string): RepositoryGlob {
  const glob = compileRepositoryGlob(pattern);
  if (glob === undefined) throw new RangeError(`no pattern over repository names: ${pattern}`);
  return glob;
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}
