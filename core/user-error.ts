/** An error whose text is written for the person at the terminal: what is wrong and what to do. No stack is shown for it. */
export class UserError extends Error {
  override readonly name = 'UserError';
  /** Process exit code: 1 = failed, 2 = wrong usage. */
  readonly exitCode: number;
  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}
