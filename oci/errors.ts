/**
 * The one table of registry errors: code → HTTP status and default message.
 * Codes of the OCI distribution-spec 1.1 ("Error Codes"), plus the few that docker's registry API added and
 * clients know (RANGE_INVALID, TAG_INVALID, PAGINATION_NUMBER_INVALID, TOOMANYREQUESTS, UNAVAILABLE, UNKNOWN).
 */
export const ociErrors = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 400, message: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  DIGEST_INVALID: { status: 400, message: 'provided digest did not match uploaded content' },
  MANIFEST_BLOB_UNKNOWN: { status: 404, message: 'manifest references a blob unknown to the repository' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to repository' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  SIZE_INVALID: { status: 400, message: 'provided length did not match content length' },
  SIZE_TOO_LARGE: { status: 413, message: 'content is larger than the registry accepts' },
  RANGE_INVALID: { status: 416, message: 'range is not satisfiable' },
  TAG_INVALID: { status: 400, message: 'invalid tag name' },
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'invalid number of results requested' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  UNAVAILABLE: { status: 503, message: 'the store behind the registry is not available' },
  UNKNOWN: { status: 500, message: 'an internal error occurred' },
} as const satisfies Record<string, { status: number; message: string }>;

export type OciErrorCode = keyof typeof ociErrors;

/** An error that a registry client is told about. Throw it; the HTTP layer turns it into the spec's body. */
export class OciError extends Error {
  readonly code: OciErrorCode;
  /** Goes into the body's `detail`; must hold nothing that the caller may not know. */
  readonly detail: unknown;

  constructor(code: OciErrorCode, options: { message?: string; detail?: unknown; cause?: unknown } = {}) {
    super(
      options.message ?? ociErrors[code].message,
      options.cause === undefined ? {} : { cause: options.cause },
    );
    this.name = 'OciError';
    this.code = code;
    this.detail = options.detail;
  }

  get status(): number {
    return ociErrors[this.code].status;
  }
}

/** True for an OciError with this code (or for any OciError when no code is given). */
export function isOciError(error: unknown, code?: OciErrorCode): error is OciError {
  return error instanceof OciError && (code === undefined || error.code === code);
}

/** The body of distribution-spec "Error Codes": `{errors: [{code, message, detail}]}`. */
export function toErrorBody(error: OciError): {
  errors: { code: string; message: string; detail?: unknown }[];
} {
  const entry = { code: error.code, message: error.message };
  return { errors: [error.detail === undefined ? entry : { ...entry, detail: error.detail }] };
}
