import type { Readable } from 'node:stream';
import type { Descriptor } from '../descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../digest.ts';
import { isOciError, OciError } from '../errors.ts';
import type { UploadStatus, WriteOptions, Writer } from '../registry.ts';
import { drain } from './answers.ts';
import { countBody } from './counted-body.ts';
import type { ClientSession } from './session.ts';
import type { Answer } from './transport.ts';
import { addressOfUpload, uploadIdOf } from './upload-id.ts';

/** Sent in one request, and once more where the registry does not take it so. */
const wholeBlobBytes = 256 * 1024;

/** Sessions belong to the account that this client signs in with, so `owner` is not looked at. */
export function createClientWriter(session: ClientSession): Writer {
  let refusesWholeBlobs = false;
  return {
    startUpload,
    async uploadStatus(repository, id) {
      const url = addressOfUpload(session.registry, repository, id);
      const answer = await session.call({ method: 'GET', route: { kind: 'upload', repository, id }, url });
      await drain(answer);
      return statusOf(answer, repository, id);
    },
    async writeUpload(repository, id, body, options = {}) {
      const url = addressOfUpload(session.registry, repository, id);
      await checkStart(repository, id, options);
      // Chunked unless a Content-Range names the length: then what arrives of a body that ends early is kept and counted.
      const { length, start } = options;
      const counted = countBody(body, length, start !== undefined);
      const answer = await session.call({
        method: 'PATCH',
        route: { kind: 'upload', repository, id },
        url,
        headers: chunkHeaders(start === undefined ? {} : options),
        body: counted.stream,
      });
      await drain(answer);
      counted.check();
      const status = statusOf(answer, repository, id);
      // What `0-0` means is known here: see `statusOf`.
      return status.offset === 0 && counted.sent() === 1 ? { ...status, offset: 1 } : status;
    },
    finishUpload,
    cancelUpload,
    async putBlob(repository, digest, body, options = {}) {
      if (!Buffer.isBuffer(body)) return putBySession(repository, digest, body, options);
      const length = { length: body.length };
      if (body.length > wholeBlobBytes || refusesWholeBlobs) {
        return putBySession(repository, digest, body, length);
      }
      const answer = await postWhole(repository, digest, body);
      if (answer?.status === 201) return { mediaType: 'application/octet-stream', digest, size: body.length };
      refusesWholeBlobs = true;
      const opened = answer === undefined ? undefined : statusOf(answer, repository).id;
      return putBySession(repository, digest, body, length, opened);
    },
    async mountBlob(repository, digest, from) {
      const answer = await session.call({
        method: 'POST',
        route: { kind: 'uploads', repository },
        query: { mount: digest, from },
        ...(from === undefined ? {} : { from }),
      });
      await drain(answer);
      if (answer.status === 201) return true;
      // Not possible, so a session was opened instead; nobody will use it.
      await cancelUpload(repository, statusOf(answer, repository).id).catch(() => {});
      return false;
    },
    async putManifest(repository, reference, bytes, mediaType, options = {}) {
      if (options.replaces !== undefined) {
        throw new OciError('UNSUPPORTED', { message: 'the distribution API has no compare-and-set of tags' });
      }
      const put = async (to: string, tags: readonly string[]): Promise<Answer> => {
        const answer = await session.call({
          method: 'PUT',
          route: { kind: 'manifest', repository, reference: to },
          query: { tag: tags },
          headers: {
            'content-length': String(bytes.length),
            // Without one the registry goes by what the manifest says of itself.
            ...(mediaType === '' ? {} : { 'content-type': mediaType }),
          },
          body: bytes,
        });
        await drain(answer);
        return answer;
      };
      const wanted = isDigest(reference) ? (options.tags ?? []) : [];
      const answer = await put(reference, wanted);
      const set = listOf(answer.headers['oci-tag']);
      // A registry that does not know the parameter ignores it: then each tag is pushed by itself.
      for (const tag of wanted) if (!set.includes(tag)) await put(tag, []);
      const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
      const subject = answer.headers['oci-subject'];
      return {
        descriptor: { mediaType, digest, size: bytes.length },
        ...(typeof subject === 'string' && isDigest(subject) ? { subject } : {}),
        tags: isDigest(reference) ? wanted : [reference],
      };
    },
  };

  /** distribution-spec end-4b, which a registry need not know: then it opens a session, or (undefined) does not take the request for one. */
  async function postWhole(repository: string, digest: Digest, body: Buffer): Promise<Answer | undefined> {
    const headers = chunkHeaders({ length: body.length });
    const route = { kind: 'uploads', repository } as const;
    try {
      const answer = await session.call({ method: 'POST', route, query: { digest }, headers, body });
      await drain(answer);
      return answer;
    } catch (error) {
      const codes = ['UNSUPPORTED', 'BLOB_UPLOAD_INVALID', 'UNKNOWN'] as const;
      if (codes.some((code) => isOciError(error, code))) return undefined;
      throw error;
    }
  }

  async function putBySession(
    repository: string,
    digest: Digest,
    body: Readable | Buffer,
    options: WriteOptions,
    opened?: string,
  ): Promise<Descriptor> {
    const id = opened ?? (await startUpload(repository)).id;
    try {
      return await finishUpload(repository, id, digest, body, options);
    } catch (error) {
      await cancelUpload(repository, id).catch(() => {});
      throw error;
    }
  }

  async function startUpload(repository: string): Promise<UploadStatus> {
    const answer = await session.call({ method: 'POST', route: { kind: 'uploads', repository } });
    await drain(answer);
    return statusOf(answer, repository);
  }

  async function finishUpload(
    repository: string,
    id: string,
    digest: Digest,
    body?: Readable | Buffer,
    options: WriteOptions = {},
  ): Promise<Descriptor> {
    const url = addressOfUpload(session.registry, repository, id);
    url.searchParams.set('digest', digest);
    const message = { method: 'PUT', route: { kind: 'upload', repository, id }, url } as const;
    let answer: Answer;
    if (body === undefined) answer = await session.call(message);
    else if (Buffer.isBuffer(body)) {
      answer = await session.call({ ...message, headers: chunkHeaders({ length: body.length }), body });
    } else {
      await checkStart(repository, id, options);
      const counted = countBody(body, options.length, true);
      answer = await session.call({ ...message, headers: chunkHeaders(options), body: counted.stream });
      counted.check();
    }
    await drain(answer);
    const head = await session.call({ method: 'HEAD', route: { kind: 'blob', repository, digest } });
    await drain(head);
    const size = Number(head.headers['content-length']);
    return { mediaType: 'application/octet-stream', digest, size };
  }

  async function cancelUpload(repository: string, id: string): Promise<void> {
    const url = addressOfUpload(session.registry, repository, id);
    const answer = await session.call({ method: 'DELETE', route: { kind: 'upload', repository, id }, url });
    await drain(answer);
  }

  /** A Content-Range cannot be written without the end, so the question is asked beforehand. Errors: RANGE_INVALID. */
  async function checkStart(repository: string, id: string, options: WriteOptions): Promise<void> {
    if (options.start === undefined || options.length !== undefined) return;
    const url = addressOfUpload(session.registry, repository, id);
    const answer = await session.call({ method: 'GET', route: { kind: 'upload', repository, id }, url });
    await drain(answer);
    if (statusOf(answer, repository, id).offset !== options.start) throw new OciError('RANGE_INVALID');
  }

  function statusOf(answer: Answer, repository: string, before?: string): UploadStatus {
    const { location, range } = answer.headers;
    const id = location === undefined ? before : uploadIdOf(location, answer.url, repository);
    if (id === undefined) {
      throw new OciError('UNAVAILABLE', { message: `${answer.url.host} sent no usable Location` });
    }
    const match = /^(?:bytes=)?0-([0-9]{1,15})$/.exec(typeof range === 'string' ? range : '');
    const end = match === null ? 0 : Number(match[1]);
    // `0-0` is both "one byte" and, because it cannot be said, "none yet". Sessions are not written byte by byte.
    return { id, offset: end === 0 ? 0 : end + 1 };
  }
}

function chunkHeaders(options: WriteOptions): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/octet-stream' };
  if (options.length !== undefined) headers['content-length'] = String(options.length);
  else headers['transfer-encoding'] = 'chunked';
  if (options.start !== undefined && options.length !== undefined) {
    headers['content-range'] = `${options.start}-${options.start + options.length - 1}`;
  }
  return headers;
}

function listOf(header: string | string[] | undefined): readonly string[] {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  return text.split(',').map((part) => part.trim());
}
