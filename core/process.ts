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

/** Prints what went wrong for a person and gives the exit code: a UserError's text alone, anything else with its stack. */
export function reportFailure(error: unknown, write: (text: string) => void): number {
  if (error instanceof UserError) {
    write(`brickyard: ${error.message}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  write(`brickyard: this is a fault of the program, please report it:\n${text}\n`);
  return 1;
}
