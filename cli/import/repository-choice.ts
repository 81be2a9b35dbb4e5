import { UserError } from '../../core/user-error.ts';
import { isRepositoryName } from '../../oci/reference.ts';

/** Which repositories of a source are wanted. */
export interface RepositoryChoice {
  /** All that is wanted, where no pattern is among it: then the source need not list what it has. */
  readonly names?: readonly string[];
  matches(name: string): boolean;
}

/**
 * Names and patterns with commas or line ends between; `#` begins a comment. In a pattern `*` stands for anything but a slash, `**` for
 * anything. Undefined = everything. Errors: UserError.
 */
export function parseRepositoryChoice(text: string | undefined): RepositoryChoice {
  if (text === undefined) return { matches: () => true };
  const wanted = text
    .split('\n')
    .flatMap((line) => (line.split('#', 1)[0] ?? '').split(','))
    .map((word) => word.trim())
    .filter((word) => word !== '');
  if (wanted.length === 0) throw new UserError('--repositories names no repository', { exitCode: 2 });
  for (const word of wanted) {
    if (isRepositoryName(word.replaceAll('*', 'a'))) continue;
    throw new UserError(`"${word}" is no repository and no pattern, such as team/app or team/*`, {
      exitCode: 2,
    });
  }
  const names = new Set(wanted.filter((word) => !word.includes('*')));
  const patterns = wanted.filter((word) => word.includes('*')).map(toPattern);
  return {
    ...(patterns.length === 0 ? { names: [...names] } : {}),
    matches: (name) => names.has(name) || patterns.some((pattern) => pattern.test(name)),
  };
}

/** Linear for `*`, as nothing that follows one may begin with what it takes; `**` is rare and names are short. */
function toPattern(word: string): RegExp {
  const source = word
    .split(/(\*+)/)
    .map((part) => (part.startsWith('**') ? '.*' : part === '*' ? '[^/]*' : part.replaceAll('.', '\\.')))
    .join('');
  return new RegExp(`^${source}$`);
}
