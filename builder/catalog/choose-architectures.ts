import { UserError } from '../../core/user-error.ts';
import type { LevelImageBuilt } from './build-level.ts';
import type { CatalogEntry } from './catalog.ts';
import type { LevelContext } from './level-context.ts';

/** Debian's names, which are those of images too. */
const known = ['amd64', 'arm64'] as const;

export function isKnown(architecture: string): boolean {
  return (known as readonly string[]).includes(architecture);
}

/** What an entry is made for unless somebody asks for more: this machine's, or those that base.yaml names instead. */
export function ownArchitectures(
  { file }: CatalogEntry,
  { architecture }: Pick<LevelContext, 'architecture'>,
): readonly string[] {
  const { architectures } = file;
  if (architectures === undefined) return [architecture];
  return architectures.some((each) => each === architecture) ? [architecture] : architectures;
}

/**
 * For which of the architectures that were asked for an entry's image can be made: its script runs on this machine, its parent must be
 * there, and base.yaml may say which it is for. What was asked for and is left out is noted. Errors: UserError when none is left.
 */
export function chooseArchitectures(
  entry: CatalogEntry,
  level: {
    readonly asked: readonly string[];
    readonly script: Buffer | undefined;
    readonly below: LevelImageBuilt | undefined;
  },
  context: Pick<LevelContext, 'architecture' | 'note'>,
): readonly string[] {
  const why = (architecture: string): string | undefined => {
    if (entry.file.architectures?.every((each) => each !== architecture) === true) {
      return 'base.yaml does not name it (architectures)';
    }
    if (level.below?.architectures.includes(architecture) === false) {
      return `${level.below.entry.id} has none (base build ${level.below.entry.id} --architectures …)`;
    }
    if (level.script !== undefined && architecture !== context.architecture) {
      return `its script runs on ${context.architecture}, the architecture of this machine`;
    }
    return undefined;
  };
  const left = level.asked.map((architecture) => [architecture, why(architecture)] as const);
  const chosen = left.flatMap(([architecture, reason]) => (reason === undefined ? [architecture] : []));
  const [first] = left;
  if (chosen.length === 0) {
    throw new UserError(
      `${entry.id} cannot be made for ${first?.[0] ?? 'any architecture'}: ${first?.[1] ?? ''}`,
    );
  }
  for (const [architecture, reason] of left) {
    if (reason !== undefined) context.note(`${entry.id}: no image for ${architecture}: ${reason}`);
  }
  return chosen;
}

export function forArchitecture(context: LevelContext, architecture = context.architecture): LevelContext {
  return { ...context, architecture };
}

/** Errors: UserError for one that no image can be made for. */
export function checkArchitectures(architectures: readonly string[] | undefined): void {
  const wrong = architectures?.find((each) => !isKnown(each));
  if (wrong === undefined) return;
  throw new UserError(
    `no base images can be made for ${JSON.stringify(wrong)}; write ${known.join(' or ')}`,
    {
      exitCode: 2,
    },
  );
}
