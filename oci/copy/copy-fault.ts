import { isOciError } from '../errors.ts';

export type CopySide = 'source' | 'target';

/** What a copy stopped at, and on which side; `cause` is what that side said. */
export class CopyFault extends Error {
  override readonly name = 'CopyFault';
  readonly side: CopySide;
  /** `blob sha256:…`, `manifest 1.0` … */
  readonly subject: string;

  constructor(side: CopySide, subject: string, cause: unknown) {
    super(`${subject}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.side = side;
    this.subject = subject;
  }
}

/** The content is of a kind that is not copied (Docker's schema 1): nothing is wrong on either side. */
export class UnsupportedContent extends Error {
  override readonly name = 'UnsupportedContent';
}

/** The caller's signal ended the copy. */
export class CopyAborted extends Error {
  override readonly name = 'CopyAborted';
  constructor() {
    super('the copy was interrupted');
  }
}

/** Another attempt may go better: the network, a server that restarts, one that asks for patience. */
export function isTransient(error: unknown): boolean {
  return isOciError(error, 'UNAVAILABLE') || isOciError(error, 'TOOMANYREQUESTS');
}

/** Says that something is not there, as against: could not look. */
export function isAbsent(error: unknown): boolean {
  const cause = error instanceof CopyFault ? error.cause : error;
  return (
    isOciError(cause, 'MANIFEST_UNKNOWN') ||
    isOciError(cause, 'NAME_UNKNOWN') ||
    isOciError(cause, 'BLOB_UNKNOWN')
  );
}
