import { type Action, type Authorizer, actions, type Principal } from './authorizer.ts';
import { compileRepositoryGlob, type RepositoryGlob } from './repository-glob.ts';

/** One line of `auth.rules`. Rules only ever grant; what no rule grants is refused. */
export interface AccessRule {
  /** Patterns over repository names (`repository-glob.ts`); `**` alone also covers the whole server. */
  readonly repositories: string | readonly string[];
  /** Account names; `*` = everybody signed in; `anonymous` = everybody, signed in or not. */
  readonly users: readonly string[];
  readonly actions: readonly Action[];
}

/** What holds where accounts exist and no rules were written: an account may do everything, anybody else nothing. */
export const rulesWithoutRules: readonly AccessRule[] = [
  { repositories: '**', users: ['*'], actions: ['admin'] },
];

export interface AccessDecision {
  readonly allowed: boolean;
  /** Index of the first rule that grants it; undefined = none did. */
  readonly rule?: number;
}

interface CompiledRule {
  readonly globs: readonly RepositoryGlob[];
  readonly users: ReadonlySet<string>;
  readonly actions: ReadonlySet<Action>;
}

export interface RuleAuthorizer extends Authorizer {
  /** The same decision with its reason, for `brickyard can-i`. */
  explain(principal: Principal, action: Action, repository: string): AccessDecision;
}

/** Errors: RangeError for a pattern that is none (the configuration is checked before, by `checkAccessRules`). */
export function createAuthorizer(rules: readonly AccessRule[]): RuleAuthorizer {
  const compiled = rules.map(compileRule);
  const explain = (principal: Principal, action: Action, repository: string): AccessDecision => {
    const rule = compiled.findIndex(
      (candidate) =>
        appliesTo(candidate, principal) &&
        (candidate.actions.has(action) || candidate.actions.has('admin')) &&
        candidate.globs.some((glob) => glob(repository)),
    );
    return rule < 0 ? { allowed: false } : { allowed: true, rule };
  };
  return {
    explain,
    may: (principal, action, repository) => explain(principal, action, repository).allowed,
  };
}

function compileRule(rule: AccessRule): CompiledRule {
  return {
    globs: patternsOf(rule).map((pattern) => {
      const glob = compileRepositoryGlob(pattern);
      if (glob === undefined) throw new RangeError(`no pattern over repository names: ${pattern}`);
      return glob;
    }),
    users: new Set(rule.users),
    actions: new Set(rule.actions),
  };
}

function appliesTo(rule: CompiledRule, principal: Principal): boolean {
  if (rule.users.has('anonymous')) return true;
  return !principal.anonymous && (rule.users.has('*') || rule.users.has(principal.name));
}

export function patternsOf(rule: AccessRule): readonly string[] {
  return typeof rule.repositories === 'string' ? [rule.repositories] : rule.repositories;
}

export interface RuleFault {
  /** Where in the rules, e.g. `[2, 'repositories']`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What a schema cannot say about rules. */
export function checkAccessRules(rules: readonly AccessRule[]): RuleFault[] {
  const faults: RuleFault[] = [];
  for (const [index, rule] of rules.entries()) {
    for (const [position, pattern] of patternsOf(rule).entries()) {
      if (compileRepositoryGlob(pattern) !== undefined) continue;
      const place = typeof rule.repositories === 'string' ? [] : [position];
      faults.push({
        path: [index, 'repositories', ...place],
        message: `"${pattern}" matches no repository name: write lower-case parts joined by "/", "*" within a part, "**" as a whole part`,
      });
    }
    const open = rule.actions.filter((action) => action !== 'pull');
    if (rule.users.includes('anonymous') && open.length > 0) {
      faults.push({
        path: [index, 'actions'],
        message: `without signing in, people may at most pull, not ${open.join(', ')}`,
      });
    }
  }
  return faults;
}

export function isAction(text: string): text is Action {
  return (actions as readonly string[]).includes(text);
}
