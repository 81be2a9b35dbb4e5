import { type Digest, type DigestAlgorithm, parseDigest } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import { parseContentRange } from '../../oci/range.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { UploadStatus, WriteOptions } from '../../oci/registry.ts';
import { formatRoute } from '../../oci/route.ts';
import { answer, type Call, contentLength, hasBody, ownerOf, queryOf } from './call.ts';

/**
 * end-4a   POST /v2/<name>/blobs/uploads/
 * end-4b   POST /v2/<name>/blobs/uploads/?digest=<digest>: the whole blob in one request
 * end-4c   POST /v2/<name>/blobs/uploads/?digest-algorithm=<algorithm>
 * end-11   POST /v2/<name>/blobs/uploads/?mount=<digest>[&from=<other name>]
 */
export async function startUpload(call: Call<'uploads'>): Promise<void> {
  const { registry, request } = call;
  const { repository } = call.route;
  const query = queryOf(call);
  const algorithm = algorithmParameter(query);
  const digest = digestParameter(query, 'digest');
  if (digest !== undefined) {
    const length = contentLength(request);
    const options = { ...ownerOf(call), ...(length === undefined ? {} : { length }) };
    await registry.putBlob(repository, digest, call.receive(request), options);
    answerCreated(call, digest);
    return;
  }

  const mount = digestParameter(query, 'mount');
  if (mount !== undefined && (await tryMount(call, mount, query.get('from') ?? undefined))) {
    answerCreated(call, mount);
    return;
  }
  const options = { ...ownerOf(call), ...(algorithm === undefined ? {} : { algorithm }) };
  const status = await registry.startUpload(repository, options);
  answer(call, 202, sessionHeaders(repository, status));
}

/** end-13  GET /v2/<name>/blobs/uploads/<session> */
export async function uploadStatus(call: Call<'upload'>): Promise<void> {
  const { repository, id } = call.route;
  const status = await call.registry.uploadStatus(repository, id, ownerOf(call));
  answer(call, 204, sessionHeaders(repository, status));
}

/** end-5  PATCH /v2/<name>/blobs/uploads/<session>: a chunk (with Content-Range) or a stream of any length */
export async function writeUpload(call: Call<'upload'>): Promise<void> {
  const { registry, request } = call;
  const { repository, id } = call.route;
  const options = writeOptions(call);
  const status = await orWhereToContinue(call, () =>
    registry.writeUpload(repository, id, call.receive(request), options),
  );
  answer(call, 202, sessionHeaders(repository, status));
}

/** end-6  PUT /v2/<name>/blobs/uploads/<session>?digest=<digest>, with the last chunk, the whole blob, or no body */
export async function finishUpload(call: Call<'upload'>): Promise<void> {
  const { registry, request } = call;
  const { repository, id } = call.route;
  const digest = digestParameter(queryOf(call), 'digest');
  if (digest === undefined)
    throw new OciError('DIGEST_INVALID', { message: 'the digest parameter is missing' });
  if (!hasBody(request)) {
    await registry.finishUpload(repository, id, digest, undefined, ownerOf(call));
  } else {
    const options = writeOptions(call);
    await orWhereToContinue(call, () =>
      registry.finishUpload(repository, id, digest, call.receive(request), options),
    );
  }
  answerCreated(call, digest);
}

/** end-14  DELETE /v2/<name>/blobs/uploads/<session> */
export async function cancelUpload(call: Call<'upload'>): Promise<void> {
  const { repository, id } = call.route;
  await call.registry.cancelUpload(repository, id, ownerOf(call));
  answer(call, 204, []);
}

/** Thrown instead of RANGE_INVALID: the 416 also tells where the session stands, so that a client need not ask. */
export class OutOfOrder extends OciError {
  readonly headers: readonly string[];
  constructor(cause: OciError, headers: readonly string[]) {
    super('RANGE_INVALID', { message: cause.message, cause });
    this.headers = headers;
  }
}

async function orWhereToContinue<T>(call: Call<'upload'>, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!isOciError(error, 'RANGE_INVALID')) throw error;
    const { repository, id } = call.route;
    const status = await call.registry.uploadStatus(repository, id, ownerOf(call));
    throw new OutOfOrder(error, sessionHeaders(repository, status));
  }
}

/** Errors: BLOB_UPLOAD_INVALID for an unreadable Content-Range, SIZE_INVALID when it and Content-Length disagree. */
function writeOptions(call: Call<'upload'>): WriteOptions {
  const length = contentLength(call.request);
  const header = call.request.headers['content-range'];
  if (header === undefined) return { ...ownerOf(call), ...(length === undefined ? {} : { length }) };
  const range = parseContentRange(header);
  if (range === undefined) {
    throw new OciError('BLOB_UPLOAD_INVALID', { message: 'Content-Range must be <start>-<end>' });
  }
  const announced = range.end - range.start + 1;
  if (length !== undefined && length !== announced) {
    throw new OciError('SIZE_INVALID', { message: 'Content-Range and Content-Length disagree' });
  }
  return { ...ownerOf(call), start: range.start, length: announced, chunked: true };
}

/**
 * Whether `digest` became readable here without moving bytes. A repository that the caller may not read is treated as one
 * that has no such blob: the answer must not tell which. Errors: DENIED where the caller may read it, but not with this token:
 * the challenge then names both scopes, and the next try needs no upload.
 */
async function tryMount(call: Call<'uploads'>, digest: Digest, from: string | undefined): Promise<boolean> {
  const { principal, authorizer, unscoped } = call.identity;
  const mayRead = (repository: string): boolean => authorizer.may(principal, 'pull', repository);
  if (from !== undefined && !isRepositoryName(from)) return false;
  if (from !== undefined && !mayRead(from)) {
    if (unscoped?.may(principal, 'pull', from) === true) throw new OciError('DENIED');
    return false;
  }
  return call.registry.mountBlob(call.route.repository, digest, from, mayRead);
}

/** Errors: DIGEST_INVALID for one that is not supported. */
function algorithmParameter(query: URLSearchParams): DigestAlgorithm | undefined {
  const algorithm = query.get('digest-algorithm') ?? undefined;
  if (algorithm === undefined || algorithm === 'sha256' || algorithm === 'sha512') return algorithm;
  throw new OciError('DIGEST_INVALID', { message: 'digest algorithm is not supported' });
}

/** Errors: DIGEST_INVALID, also for one that is given twice. */
function digestParameter(query: URLSearchParams, name: 'digest' | 'mount'): Digest | undefined {
  const values = query.getAll(name);
  const [first] = values;
  if (first === undefined) return undefined;
  if (values.length > 1) throw new OciError('DIGEST_INVALID', { message: `more than one ${name} parameter` });
  return parseDigest(first);
}

/**
 * `Location` is relative (RFC 9110 10.2.2 allows it, and every client resolves it): whatever scheme, host and port a proxy in
 * front is reached by, the address stays right without anybody telling us.
 * `Range` cannot say "nothing yet"; `0-0` is what docker's registry sends then, and what clients know.
 */
function sessionHeaders(repository: string, status: UploadStatus): string[] {
  return [
    'Location',
    formatRoute({ kind: 'upload', repository, id: status.id }),
    'Range',
    `0-${Math.max(0, status.offset - 1)}`,
    'Docker-Upload-UUID',
    status.id,
  ];
}

function answerCreated(call: Call<'upload' | 'uploads'>, digest: Digest): void {
  const location = formatRoute({ kind: 'blob', repository: call.route.repository, digest });
  answer(call, 201, ['Location', location, 'Docker-Content-Digest', digest]);
}
