import { JobFailed } from '../../../core/queue/job-queue.ts';
import { imageSelection, maxIgnoreFileBytes, selectSource } from '../../plan/select-source.ts';
import type { SourceEntry } from '../../plan/source-tree.ts';
import type { EngineInput } from '../engine.ts';
import { refuse } from './path-policy.ts';

/** What of the commit is laid into the image as it is. Errors: JobFailed for paths that cannot enter an image and for a .dockerignore that cannot be understood. */
export async function selectFiles(input: EngineInput): Promise<readonly SourceEntry[]> {
  const selection = imageSelection(input.plan);
  if (selection.include.length === 0) return [];
  const entries = await input.source.entries();
  const dockerignore = await input.source.readFile('.dockerignore', maxIgnoreFileBytes);
  let selected: ReturnType<typeof selectSource>;
  try {
    selected = selectSource(entries, selection, dockerignore?.toString());
  } catch (error) {
    if (error instanceof RangeError) throw new JobFailed(error.message, { cause: error });
    throw error;
  }
  const [first] = selected.refused;
  if (first !== undefined) throw refuse(Buffer.from(first.path).toString('latin1'), first.reason);
  return selected.entries;
}
