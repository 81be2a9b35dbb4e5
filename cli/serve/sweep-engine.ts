import { removeUnusedImages } from '../../builder/engines/docker.ts';
import type { Logger } from '../../core/log.ts';

const sweepEveryMs = 60 * 60 * 1000;
/** A base image that nobody built with for so long is loaded again when somebody does, which takes seconds. */
const unusedMs = 14 * 24 * 60 * 60 * 1000;

/** Removes base images that builds do not use any more from this machine's container engine, now and then until it is closed. */
export function sweepEngine(options: {
  /** As in the configuration. */
  readonly socket: string;
  readonly cacheDir: string;
  readonly log: Logger;
}): { close(): void } {
  const { socket, cacheDir, log } = options;
  const sweep = (): void => {
    if (socket === 'none') return;
    removeUnusedImages({ socket, cacheDir, before: Date.now() - unusedMs })
      .then((removed) => {
        if (removed > 0)
          log.info({ removed }, 'removed base images that no build uses from the container engine');
      })
      .catch((error: unknown) => log.warn({ err: error }, 'unused base images could not be removed'));
  };
  sweep();
  const timer = setInterval(sweep, sweepEveryMs);
  return { close: () => clearInterval(timer) };
}
