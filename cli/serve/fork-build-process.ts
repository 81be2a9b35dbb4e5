import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { ServeOptions } from './messages.ts';

/** Starts a process that runs builds (build-child.ts) with the same configuration and at most `heap` MiB of heap. */
export function forkBuildProcess(options: ServeOptions, heap: number): ChildProcess {
  // `.ts` in the checkout, `.js` in the published package: the same as this file.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fork(join(import.meta.dirname, `build-child.${extension}`), [JSON.stringify(options)], {
    execArgv: [...process.execArgv, `--max-old-space-size=${heap}`],
  });
}
