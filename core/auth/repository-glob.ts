/**
 * Patterns over repository names: `*` stands for any characters within one part (`team-*`), `**` as a whole part for any
 * number of parts, none included (`team/**` covers `team`, `team/app` and `team/sub/app`). Everything else is literal.
 */
export type RepositoryGlob = (repository: string) => boolean;

const patternShape = /^[a-z0-9._*-]+(?:\/[a-z0-9._*-]+)*$/;

/** Undefined when `pattern` cannot match any repository name, e.g. for upper case, an empty part or `a**`. */
export function compileRepositoryGlob(pattern: string): RepositoryGlob | undefined {
  if (pattern.length > 255 || !patternShape.test(pattern)) return undefined;
  const parts = pattern.split('/');
  if (parts.some((part) => part.includes('**') && part !== '**')) return undefined;
  // The question about the whole server must never be answered by a pattern that only looks like it.
  if (parts.every((part) => part === '**')) return () => true;
  return (repository) => repository !== '*' && matchParts(parts, repository.split('/'));
}

/**
 * Remembers only the last wildcard to come back to, as an earlier one can never do better: the work is bounded by
 * length of the pattern × length of the name, where a regular expression could take exponential time.
 */
function matchParts(pattern: readonly string[], name: readonly string[]): boolean {
  return matchWild(
    pattern.length,
    name.length,
    (at) => pattern[at] === '**',
    (at, to) => matchWildcards(pattern[at] ?? '', name[to] ?? ''),
  );
}

/** `v1.*`: `*` stands for any characters, everything else for itself. In time that is bounded by the product of both lengths. */
export function matchWildcards(pattern: string, text: string): boolean {
  return matchWild(
    pattern.length,
    text.length,
    (at) => pattern[at] === '*',
    (at, to) => pattern[at] === text[to],
  );
}

function matchWild(
  patternLength: number,
  nameLength: number,
  isWild: (at: number) => boolean,
  fits: (at: number, to: number) => boolean,
): boolean {
  let at = 0;
  let to = 0;
  let wild = -1;
  let resume = 0;
  while (to < nameLength) {
    if (at < patternLength && isWild(at)) {
      wild = at;
      resume = to;
      at += 1;
    } else if (at < patternLength && fits(at, to)) {
      at += 1;
      to += 1;
    } else if (wild >= 0) {
      resume += 1;
      to = resume;
      at = wild + 1;
    } else {
      return false;
    }
  }
  while (at < patternLength && isWild(at)) at += 1;
  return at === patternLength;
}
