import { UserError } from '../../core/user-error.ts';
import { BaseImageGone } from '../engines/base-image-gone.ts';
import type { BuiltBaseImage } from './build-base-images.ts';
import type { CatalogEntry } from './catalog.ts';

/** Why there is no new image of an entry. */
export type LevelFailure =
  | {
      readonly kind: 'failed';
      readonly entry: CatalogEntry;
      readonly error: Error;
      /** The last lines that its script or test wrote. */
      readonly output: readonly string[];
    }
  /** Nobody tried: no container engine answers. */
  | { readonly kind: 'no engine'; readonly entry: CatalogEntry }
  /** Nobody tried: `below` is not there. */
  | { readonly kind: 'blocked'; readonly entry: CatalogEntry; readonly below: CatalogEntry };

/** Some levels could not be made; those of `images` were. */
export class BaseImagesFailed extends UserError {
  readonly failures: readonly LevelFailure[];
  readonly images: readonly BuiltBaseImage[];
  constructor(
    failures: readonly LevelFailure[],
    images: readonly BuiltBaseImage[],
    held: readonly CatalogEntry[],
  ) {
    const [first] = failures.flatMap((failure) => (failure.kind === 'failed' ? [failure.error] : []));
    super(describe(failures, held), first === undefined ? {} : { cause: first });
    this.failures = failures;
    this.images = images;
  }
}

function describe(failures: readonly LevelFailure[], held: readonly CatalogEntry[]): string {
  const lines: string[] = [];
  for (const failure of failures) {
    if (failure.kind !== 'failed') continue;
    lines.push(`${failure.entry.id}: ${reason(failure.error)}`);
    lines.push(...failure.output.map((line) => `    ${line}`));
  }
  const engineless = failures.filter(({ kind }) => kind === 'no engine');
  if (engineless.length > 0) {
    lines.push(
      `${ids(engineless)}: made by a script in a container, and no container engine answers; start Docker or Podman (or set DOCKER_HOST), and run this again`,
    );
  }
  for (const failure of failures) {
    if (failure.kind === 'blocked')
      lines.push(`${failure.entry.id}: not made, as it stands on ${failure.below.id}`);
  }
  if (held.length > 0) {
    const channels = held.flatMap(({ file }) => file.channels.map((channel) => `${file.name}:${channel}`));
    lines.push(
      `not moved: ${channels.join(', ')}; what changed together moves together or not at all. \`brickyard base build NAME…\` moves what it names, and what that stands on`,
    );
  }
  return lines.join('\n');
}

function reason(error: Error): string {
  return error instanceof BaseImageGone
    ? `${error.message}; no channel was moved to it, run this again`
    : error.message;
}

function ids(failures: readonly LevelFailure[]): string {
  return failures.map(({ entry }) => entry.id).join(', ');
}
