import { UserError } from './user-error.ts';

/** Something that was started and must be stopped, in the reverse order of starting. */
export interface Closable {
  close(): Promise<void>;
}

/**
 * Resolves with the first of SIGINT, SIGTERM and SIGHUP. Somebody who presses Ctrl-C twice wants out: a second one ends the process when `hurry`
 * has resolved, at once without it, and a third one at once. `reload`: what SIGHUP does instead, as daemons do.
 */
export function untilSignal(hurry?: () => Promise<void>, reload?: () => void): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = 0;
    const exit = (): never => process.exit(130);
    if (reload !== undefined) process.on('SIGHUP', reload);
    const ends: readonly NodeJS.Signals[] = [
      'SIGINT',
      'SIGTERM',
      ...(reload === undefined ? ['SIGHUP' as const] : []),
    ];
    for (const signal of ends) {
      process.on(signal, () => {
        asked += 1;
        if (asked === 1) resolve(signal);
        else if (asked === 2 && hurry !== undefined) void hurry().then(exit, exit);
        else exit();
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
