import type { CopyProgress } from '../oci/copy/context.ts';
import type { RepositoryReport } from '../oci/copy/copy-repositories.ts';
import type { CliContext } from './context.ts';
import { describeCounts } from './copy-report.ts';
import { createProgress, lineProgress } from './progress.ts';
import { withoutControls } from './text.ts';

/** Shows a copy: bars on a terminal, elsewhere a line for each repository that is done. */
export interface ShownCopy {
  readonly onProgress: (event: CopyProgress) => void;
  readonly onRepository: (done: RepositoryReport) => void;
  /** Before anything else is printed. */
  close(): void;
}

export interface ShownCopyOptions {
  /** Undefined = one image: no line of its own. */
  readonly repositories?: number;
  readonly terminal?: boolean;
}

export function showCopy(context: Pick<CliContext, 'stderr'>, options: ShownCopyOptions = {}): ShownCopy {
  const { repositories, terminal = process.stderr.isTTY } = options;
  const progress = terminal
    ? createProgress(process.stderr)
    : lineProgress((line) => context.stderr(`${line}\n`));
  let planned = 0;
  let moved = 0;
  let done = 0;
  return {
    onProgress(event) {
      planned += event.planned ?? 0;
      moved += event.moved ?? 0;
      // Where bars cannot move, a share of a total that grows would tell nothing.
      if (terminal || repositories === undefined) progress.update('bytes', moved, planned);
    },
    onRepository(report) {
      done += 1;
      if (terminal && repositories !== undefined) progress.update('repositories', done, repositories);
      else progress.finish(withoutControls(report.to), describeRepository(report));
    },
    close: () => progress.close(),
  };
}

function describeRepository({ images, failures, counts }: RepositoryReport): string {
  const failed = failures === 0 ? '' : `, ${failures} failed`;
  return `${images} ${images === 1 ? 'image' : 'images'}${failed}, ${describeCounts(counts)}`;
}
