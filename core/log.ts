import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface LogOptions {
  readonly level: LogLevel;
  /** Where lines of JSON go; default standard error, as results of commands go to standard output. */
  readonly destination?: DestinationStream;
}

/** Structured log. Messages are static sentences, what varies is in the fields; nothing secret may be a field. */
export function createLogger(options: LogOptions): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    // A second net only: no code hands such a field to the log.
    redact: {
      paths: ['authorization', 'password', 'token', 'secret', '*.authorization', '*.password', '*.token'],
      censor: '[redacted]',
    },
  };
  return pino(settings, options.destination ?? pino.destination({ dest: 2, sync: true }));
}

/** For tests and for programs that print their own lines. */
export function createSilentLogger(): Logger {
  return pino({ level: 'silent' });
}
