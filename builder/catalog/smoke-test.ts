import { UserError } from '../../core/user-error.ts';
import type { Reader } from '../../oci/registry.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import type { LevelImage, LevelSandbox } from '../engines/level-sandbox.ts';
import type { CatalogEntry } from './catalog.ts';
import { readImageFiles } from './image-files.ts';

export interface SmokeTestDeps {
  readonly registry: Reader;
  /** Undefined: no container engine answers, so commands cannot be run. */
  readonly sandbox: LevelSandbox | undefined;
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
  /** What the commands wrote. */
  readonly log: (line: string) => void;
  /** What whoever builds should know. */
  readonly note: (line: string) => void;
}

/**
 * What must hold before a channel moves to the image: `test` in base.yaml. Errors: UserError for a file that is missing, JobFailed for a command
 * that fails, BaseImageGone, ContainerApiError.
 */
export async function smokeTest(
  entry: CatalogEntry,
  image: LevelImage & Pick<BaseImage, 'layers'>,
  deps: SmokeTestDeps,
): Promise<void> {
  const { files = [], commands = [] } = entry.file.test ?? {};
  if (files.length > 0) {
    const tree = await readImageFiles(deps.registry, image, image.layers);
    const missing = files.find((path) => tree.resolve(path) !== 'file');
    if (missing !== undefined) throw new UserError(`the smoke test misses the file ${missing} (test.files)`);
  }
  if (commands.length === 0) return;
  if (deps.sandbox === undefined) {
    const looked = files.length === 0 ? 'nothing was tried' : 'only its files were looked at';
    deps.note(`${entry.id}: ${looked}, as no container engine answers to run its smoke test`);
    return;
  }
  const { timeoutSeconds, signal, log } = deps;
  await deps.sandbox.test({ image, commands, timeoutSeconds }, { signal, log });
}
