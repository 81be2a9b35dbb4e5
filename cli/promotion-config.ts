import { compileRepositoryGlob } from '../core/auth/repository-glob.ts';
import type { ValueFault } from '../core/config/settings.ts';
import { Type } from '../core/type.ts';
import { compileTagGlob } from '../registry/promote/promotion-policy.ts';

const patterns = Type.Unsafe<string | string[]>({
  type: ['string', 'array'],
  items: { type: 'string', minLength: 1 },
  minItems: 1,
  minLength: 1,
});

/** Tags that only `brickyard images promote` sets; the part `registry.promotion` of `brickyard.yaml`. See docs/promotion.md. */
export const promotionSchema = Type.Array(
  Type.Object(
    {
      repositories: patterns,
      tags: patterns,
      require: Type.Enum(['tests', 'built', 'none']),
      from: Type.Optional(patterns),
      by: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })),
    },
    { additionalProperties: false },
  ),
  {
    default: [],
    description:
      'Tags that only promotions set: `{repositories, tags, require: tests | built | none, from, by}`; see docs/promotion.md. As a variable: JSON.',
    'x-check': checkRules,
  },
);

interface WrittenRule {
  readonly repositories: string | readonly string[];
  readonly tags: string | readonly string[];
  readonly from?: string | readonly string[];
}

function checkRules(rules: readonly WrittenRule[]): ValueFault[] {
  return rules.flatMap((rule, index) => [
    ...each(rule.repositories, [index, 'repositories'], (pattern) =>
      compileRepositoryGlob(pattern) === undefined
        ? `"${pattern}" is no pattern over repository names`
        : undefined,
    ),
    ...each(rule.tags, [index, 'tags'], tagFault),
    ...each(rule.from ?? [], [index, 'from'], patternFault),
  ]);
}

function patternFault(pattern: string): string | undefined {
  return /^[\w*][\w.*-]{0,127}$/.test(pattern)
    ? undefined
    : `"${pattern}" is no pattern over tags, such as prod*`;
}

/** A rule that covered the tags of commits would leave builds without any. */
function tagFault(pattern: string): string | undefined {
  const fault = patternFault(pattern);
  if (fault !== undefined) return fault;
  const covers = compileTagGlob(pattern);
  return covers('0123456789ab') || covers('fedcba987654')
    ? `"${pattern}" also covers the tags that builds set for commits, such as 0123456789ab: write for example prod*`
    : undefined;
}

function each(
  value: string | readonly string[],
  path: readonly (string | number)[],
  check: (pattern: string) => string | undefined,
): ValueFault[] {
  if (typeof value === 'string') {
    const message = check(value);
    return message === undefined ? [] : [{ path, message }];
  }
  return value.flatMap((pattern, at) => {
    const message = check(pattern);
    return message === undefined ? [] : [{ path: [...path, at], message }];
  });
}
