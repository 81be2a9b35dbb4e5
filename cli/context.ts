/** What a command may touch of its process, so that tests run it within theirs. */
export interface CliContext {
  /** Results. */
  stdout(text: string): void;
  /** Everything that is no result: progress, warnings, questions. */
  stderr(text: string): void;
  /** Undefined = nothing to read. Questions are asked when it is a terminal. */
  readonly stdin?: NodeJS.ReadStream | NodeJS.ReadableStream;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}
