import { ObjectStoreUnavailable } from '../object-store.ts';

/**
 * What an S3 store's refusal means:
 * - `missing`: no such key. `noBucket`: no such bucket, which must never be taken for "no such key".
 * - `precondition`: 412. `range`: 416. `noUpload`: the multipart upload was completed or aborted. `badPart`: a part is not what the list says.
 * - `full`: no room or no quota left.
 * - `busy`: slow down. `conflict`: another request for the same key is under way. `skew`: our clock is wrong. `transient`: 5xx, network, time-out.
 *   After these four a write's outcome is unknown, or at least worth another try.
 * - `refused`: everything that stays wrong however often it is sent (credentials, rights, region, request).
 */
export type FailureKind =
  | 'missing'
  | 'noBucket'
  | 'precondition'
  | 'range'
  | 'noUpload'
  | 'badPart'
  | 'full'
  | 'busy'
  | 'conflict'
  | 'skew'
  | 'transient'
  | 'refused';

/** Who meets one without looking at `kind` treats it as "could not look". */
export class S3Failure extends ObjectStoreUnavailable {
  readonly kind: FailureKind;
  /** The store's own code (`NoSuchKey`), or the operating system's (`ECONNREFUSED`). */
  readonly code: string;
  constructor(kind: FailureKind, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.code = code;
  }
}

export function isFailure(error: unknown, ...kinds: readonly FailureKind[]): error is S3Failure {
  return error instanceof S3Failure && kinds.includes(error.kind);
}

/** Worth sending again. */
export function mayHeal(error: unknown): boolean {
  return isFailure(error, 'busy', 'conflict', 'skew', 'transient');
}

/** Where a request went, for the sentence that a person reads. */
export interface FailurePlace {
  /** `s3://bucket/prefix` */
  readonly store: string;
  readonly bucket: string;
  /** Undefined: AWS. */
  readonly endpoint: string | undefined;
}

const byCode: Readonly<Record<string, FailureKind>> = {
  NoSuchKey: 'missing',
  NoSuchBucket: 'noBucket',
  PreconditionFailed: 'precondition',
  InvalidRange: 'range',
  NoSuchUpload: 'noUpload',
  InvalidPart: 'badPart',
  InvalidPartOrder: 'badPart',
  EntityTooSmall: 'badPart',
  QuotaExceeded: 'full',
  InsufficientStorage: 'full',
  InsufficientCapacity: 'full',
  XMinioStorageFull: 'full',
  XMinioAdminBucketQuotaExceeded: 'full',
  SlowDown: 'busy',
  SlowDownRead: 'busy',
  SlowDownWrite: 'busy',
  ServiceUnavailable: 'busy',
  Throttling: 'busy',
  ThrottlingException: 'busy',
  TooManyRequests: 'busy',
  RequestLimitExceeded: 'busy',
  ConditionalRequestConflict: 'conflict',
  OperationAborted: 'conflict',
  RequestTimeTooSkewed: 'skew',
  RequestTimeout: 'transient',
  InternalError: 'transient',
  IncompleteBody: 'transient',
  // Bytes that were changed on the way: the next sending may arrive whole.
  BadDigest: 'transient',
  XAmzContentSHA256Mismatch: 'transient',
  // Credentials that are renewed in the background; the next request takes the new ones.
  ExpiredToken: 'transient',
  TokenRefreshRequired: 'transient',
};

const byStatus: Readonly<Record<number, FailureKind>> = {
  404: 'missing',
  408: 'transient',
  409: 'conflict',
  412: 'precondition',
  416: 'range',
  429: 'busy',
  503: 'busy',
  507: 'full',
};

/** What is known of an error that the client library threw. */
export interface RawFailure {
  readonly code: string;
  readonly status: number | undefined;
  readonly message: string;
}

export function readFailure(error: unknown): RawFailure {
  const { name, code, Code, message, $metadata, $response } = error as {
    name?: string;
    code?: unknown;
    Code?: unknown;
    message?: string;
    $metadata?: { httpStatusCode?: number };
    $response?: { statusCode?: number };
  };
  const system = typeof code === 'string' ? code : typeof Code === 'string' ? Code : undefined;
  const status = $metadata?.httpStatusCode ?? $response?.statusCode;
  // A service's error has its code as its name; an error of the network has it as `code`.
  return {
    code: (status === undefined ? (system ?? name) : (name ?? system)) ?? 'unknown',
    status,
    message: message ?? String(error),
  };
}

export function classify({ code, status }: RawFailure): FailureKind {
  const known = byCode[code];
  if (known !== undefined) return known;
  if (status === undefined) return code === 'CredentialsProviderError' ? 'refused' : 'transient';
  return (
    byStatus[status] ?? (status >= 500 || status < 200 ? 'transient' : status < 300 ? 'transient' : 'refused')
  );
}

/** `what`: "reading data/ab/…". */
export function toFailure(what: string, place: FailurePlace, error: unknown): S3Failure {
  if (error instanceof S3Failure) return error;
  const raw = readFailure(error);
  const kind = classify(raw);
  const status = raw.status === undefined ? '' : ` (${raw.status})`;
  return new S3Failure(kind, raw.code, `${what}: ${explain(kind, raw, place)}${status}`, { cause: error });
}

/** In plain words, with what to do. */
function explain(kind: FailureKind, { code, message, status }: RawFailure, place: FailurePlace): string {
  const where = place.endpoint ?? 'AWS';
  if (kind === 'noBucket') {
    return `there is no bucket "${place.bucket}" at ${where}: create it, or set store.s3.bucket`;
  }
  if (kind === 'full') return 'the object store has no room left, or a quota is used up';
  if (kind === 'busy') return `the object store asks for fewer requests (${code})`;
  if (kind === 'skew') return 'this machine’s clock differs too much from the object store’s: set it (NTP)';
  return (
    hints[code]?.(place) ??
    (status === 301 ? hints['PermanentRedirect']?.(place) : undefined) ??
    `${code}: ${message}`
  );
}

const unreachable = (place: FailurePlace): string =>
  `nothing answers at ${place.endpoint ?? 'AWS'}: check store.s3.endpoint and the network`;
const wrongRegion = (place: FailurePlace): string =>
  `the bucket "${place.bucket}" is in another region: set store.s3.region`;

const hints: Readonly<Record<string, (place: FailurePlace) => string>> = {
  CredentialsProviderError: () =>
    'no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role or ~/.aws/credentials',
  InvalidAccessKeyId: () => 'the store does not know this access key: check AWS_ACCESS_KEY_ID',
  SignatureDoesNotMatch: () =>
    'the store does not accept the signature: check AWS_SECRET_ACCESS_KEY, and that nothing between here and the store changes the Host header',
  AccessDenied: ({ bucket }) =>
    `these credentials may not do that; the rights needed on bucket "${bucket}" stand in docs/object-stores.md`,
  AllAccessDisabled: ({ bucket }) => `all access to bucket "${bucket}" is switched off`,
  ExpiredToken: () => 'the credentials have expired',
  PermanentRedirect: wrongRegion,
  AuthorizationHeaderMalformed: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
  InvalidBucketName: ({ bucket }) => `"${bucket}" is no bucket’s name: set store.s3.bucket`,
  ECONNREFUSED: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENOTFOUND: ({ endpoint }) =>
    `the name in ${endpoint ?? 'the address of AWS'} is not known: check store.s3.endpoint and DNS`,
  EAI_AGAIN: ({ endpoint }) =>
    `the name in ${endpoint ?? 'the address of AWS'} could not be looked up: check DNS`,
  TimeoutError: ({ endpoint }) => `${endpoint ?? 'AWS'} did not answer in time`,
  SELF_SIGNED_CERT_IN_CHAIN: () =>
    'the store’s certificate is signed by an authority that is not known here: set store.s3.caFile',
  DEPTH_ZERO_SELF_SIGNED_CERT: () => 'the store’s certificate is signed by itself: set store.s3.caFile to it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: () =>
    'the store’s certificate is signed by an authority that is not known here: set store.s3.caFile',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: () =>
    'the store’s certificate is signed by an authority that is not known here: set store.s3.caFile',
  CERT_HAS_EXPIRED: () => 'the store’s certificate has expired',
  EPROTO: ({ endpoint }) => `${endpoint ?? 'AWS'} does not speak TLS: is it http:// in store.s3.endpoint?`,
};
