import { RefusedCall } from '../../oci/client/answers.ts';
import { isOciError, OciError } from '../../oci/errors.ts';

/**
 * The upstream could not answer, or not well: none of our faults, so the client is told which registry it was. Upstreams' own words
 * are not passed on, as nobody knows what they repeat of what we sent.
 */
export class UpstreamError extends OciError {
  /** Seconds, for Retry-After. */
  readonly retryAfter: number;
  /** The upstream as a whole is in trouble; false: this one answer was bad. */
  readonly ailing: boolean;
  constructor(
    code: 'UNAVAILABLE' | 'TOOMANYREQUESTS',
    message: string,
    options: { cause?: unknown; retryAfter?: number; ailing?: boolean } = {},
  ) {
    super(code, { message, cause: options.cause });
    this.retryAfter = options.retryAfter ?? 5;
    this.ailing = options.ailing ?? true;
  }
}

/** The upstream says that it has no such thing; every other failure means that it could not be asked. */
export function isUnknown(error: unknown): boolean {
  return isOciError(error) && answeredOf(error) === 404;
}

/**
 * What an upstream's failure means to our client: UpstreamError, or DENIED where the upstream refuses the mirror's account.
 * 401 is never passed on: it would be read as a question about the client's own password.
 */
export function toUpstreamError(error: unknown, host: string): OciError {
  if (error instanceof UpstreamError) return error;
  const answered = isOciError(error) ? answeredOf(error) : undefined;
  if (answered === 401 || answered === 403) {
    const message = `${host} refuses this to the mirror: it is not there, or the mirror's account may not pull it`;
    return new OciError('DENIED', { message, cause: error });
  }
  if (answered === 429) {
    const retryAfter = error instanceof RefusedCall ? error.retryAfter : undefined;
    // Docker Hub counts over six hours and sends no Retry-After with some refusals.
    return new UpstreamError('TOOMANYREQUESTS', `${host} limits the mirror's pulls`, {
      cause: error,
      retryAfter: retryAfter ?? 30,
    });
  }
  const ailing = answered === undefined || answered === 503;
  const message = ailing
    ? `the upstream ${host} does not answer as it should`
    : `the upstream ${host} sent what cannot be mirrored`;
  return new UpstreamError('UNAVAILABLE', message, { cause: error, ailing });
}

function answeredOf(error: OciError): number {
  if (!(error instanceof RefusedCall)) return error.status;
  return error.answered >= 500 ? 503 : error.answered;
}
