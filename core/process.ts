import { UserError } from './user-error.ts';

/** Something that was started and must be stopped, in the reverse order of starting. */
export interface Closable {
  close(): Promise<void>;
}

/**
 * Resolves with the first of SIGINT, SIGTERM and SIGHUP, and from then on ends the process at once on a second one: somebody who presses
 * Ctrl-C twice wants out.
 */
export function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve(signal);
      });
    }
  });
}

/** What whoever runs the machine can mend, whichever call met it. */
const machineFaults: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the disk is used up',
  EROFS: 'the file system is read-only',
  EACCES: 'this user may not do that',
};

/** In words, when it or its cause is a fault of the machine. */
function machineFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, path } = error as NodeJS.ErrnoException;
  const words = code === undefined || !Object.hasOwn(machineFaults, code) ? undefined : machineFaults[code];
  if (words === undefined) return machineFault(error.cause);
  return `${words}: ${error.message}${path === undefined || error.message.includes(path) ? '' : ` (${path})`}`;
}

/** Prints what went wrong for a person and gives the exit code: a UserError's text alone, anything else that is not the machine's with its stack. */
export function reportFailure(error: unknown, write: (text: string) => void): number {
  if (error instanceof UserError) {
    write(`brickyard: ${error.message}\n`);
    return error.exitCode;
  }
  const reason = machineFault(error);
  if (reason !== undefined) {
    write(`brickyard: ${reason}\n`);
    return 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  write(`brickyard: this is a fault of the program, please report it:\n${text}\n`);
  return 1;
}
