import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Descriptor } from './descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { childrenOf, parseManifest, referrerDescriptor } from './manifest.ts';
import type { Page, PageOptions, Registry, UploadOwner, WriteOptions } from './registry.ts';

interface StoredManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
  readonly subject?: Digest;
  readonly referrer: Descriptor;
}

interface MemoryRepository {
  readonly blobs: Map<Digest, Buffer>;
  readonly manifests: Map<Digest, StoredManifest>;
  readonly tags: Map<string, Digest>;
}

interface MemoryUpload {
  readonly repository: string;
  readonly owner: string | undefined;
  content: Buffer;
  done?: Digest;
}

/** A registry in plain maps, for tests: holds blobs whole, forgets all with the process. */
export function createMemoryRegistry(): Registry {
  const repositories = new Map<string, MemoryRepository>();
  const uploads = new Map<string, MemoryUpload>();

  function open(name: string): MemoryRepository {
    const found = repositories.get(name) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, found);
    return found;
  }
  /** A repository is known once it had a manifest; until then its blobs are nobody's news. */
  const listed = new Set<string>();

  function blob(name: string, digest: Digest): Buffer {
    const content = repositories.get(name)?.blobs.get(digest);
    if (content === undefined) throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    return content;
  }
  function manifest(name: string, reference: string): StoredManifest {
    const repository = repositories.get(name);
    const digest = isDigest(reference) ? reference : repository?.tags.get(reference);
    const found = digest === undefined ? undefined : repository?.manifests.get(digest);
    if (found !== undefined) return found;
    throw new OciError(listed.has(name) ? 'MANIFEST_UNKNOWN' : 'NAME_UNKNOWN', { detail: { reference } });
  }
  function upload(name: string, id: string, { owner }: UploadOwner = {}): MemoryUpload {
    const found = uploads.get(id);
    if (found === undefined || found.repository !== name || found.owner !== owner) {
      throw new OciError('BLOB_UPLOAD_UNKNOWN');
    }
    return found;
  }
  function unfinished(name: string, id: string, options?: UploadOwner): MemoryUpload {
    const found = upload(name, id, options);
    if (found.done !== undefined) throw new OciError('BLOB_UPLOAD_UNKNOWN');
    return found;
  }
  async function append(target: MemoryUpload, body: Readable, options: WriteOptions): Promise<void> {
    const offset = target.content.length;
    if (options.start !== undefined && options.start !== offset) {
      throw new OciError('RANGE_INVALID', { detail: { offset } });
    }
    const { bytes, failure } = await collect(body, options.length);
    if (target.content.length !== offset) throw new OciError('RANGE_INVALID');
    target.content = Buffer.concat([target.content, bytes]);
    if (failure !== undefined) throw failure;
  }
  function keep(name: string, digest: Digest, content: Buffer): Descriptor {
    if (digestOf(content, digestAlgorithm(digest)) !== digest) throw new OciError('DIGEST_INVALID');
    open(name).blobs.set(digest, content);
    return { mediaType: 'application/octet-stream', digest, size: content.length };
  }

  return {
    async getBlob(name, digest, range) {
      const content = blob(name, digest);
      if (range !== undefined && (range.start >= content.length || range.start > range.end)) {
        throw new OciError('RANGE_INVALID', { detail: { size: content.length } });
      }
      const part = range === undefined ? content : content.subarray(range.start, range.end + 1);
      return { size: content.length, body: Readable.from([part], { objectMode: false }) };
    },
    async resolveBlob(name, digest) {
      const { length: size } = blob(name, digest);
      return { mediaType: 'application/octet-stream', digest, size };
    },
    async getManifest(name, reference) {
      const { descriptor, bytes } = manifest(name, reference);
      return { descriptor, bytes };
    },
    resolveManifest: async (name, reference) => manifest(name, reference).descriptor,

    async startUpload(repository, { owner } = {}) {
      const id = randomUUID();
      uploads.set(id, { repository, owner, content: Buffer.alloc(0) });
      return { id, offset: 0 };
    },
    async uploadStatus(name, id, options) {
      return { id, offset: unfinished(name, id, options).content.length };
    },
    async writeUpload(name, id, body, options = {}) {
      const target = unfinished(name, id, options);
      await append(target, body, options);
      return { id, offset: target.content.length };
    },
    async finishUpload(name, id, digest, body, options = {}) {
      const target = upload(name, id, options);
      if (target.done !== undefined) {
        if (target.done !== digest) throw new OciError('BLOB_UPLOAD_UNKNOWN');
        return { mediaType: 'application/octet-stream', digest, size: blob(name, digest).length };
      }
      await append(
        target,
        body ?? Readable.from([]),
        body === undefined ? { ...options, length: 0 } : options,
      );
      const descriptor = keep(name, digest, target.content);
      target.done = digest;
      target.content = Buffer.alloc(0);
      return descriptor;
    },
    async cancelUpload(name, id, options) {
      unfinished(name, id, options);
      uploads.delete(id);
    },
    async putBlob(name, digest, content, options = {}) {
      const body = Buffer.isBuffer(content) ? Readable.from([content], { objectMode: false }) : content;
      const { bytes, failure } = await collect(body, options.length);
      if (failure !== undefined) throw failure;
      return keep(name, digest, bytes);
    },
    async mountBlob(name, digest, from, mayRead = () => true) {
      const sources = from === undefined ? [...repositories.keys()] : [from];
      for (const source of sources) {
        const content = mayRead(source) ? repositories.get(source)?.blobs.get(digest) : undefined;
        if (content === undefined) continue;
        open(name).blobs.set(digest, content);
        return true;
      }
      return false;
    },
    async putManifest(name, reference, bytes, mediaType, options = {}) {
      const parsed = parseManifest(bytes, mediaType);
      const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
      if (isDigest(reference) && reference !== digest) throw new OciError('DIGEST_INVALID');
      const repository = open(name);
      for (const child of childrenOf(parsed).blobs) {
        if (repository.blobs.has(child)) continue;
        throw new OciError('MANIFEST_BLOB_UNKNOWN', { detail: { digest: child } });
      }
      const tags = [...new Set([...(isDigest(reference) ? [] : [reference]), ...(options.tags ?? [])])];
      for (const tag of options.immutableTags ?? []) {
        const old = tags.includes(tag) ? repository.tags.get(tag) : undefined;
        if (old !== undefined && old !== digest) throw new OciError('DENIED', { message: 'immutable tag' });
      }
      for (const [tag, expected] of Object.entries(options.replaces ?? {})) {
        const old = repository.tags.get(tag);
        if (old !== expected && old !== digest)
          throw new OciError('DENIED', { message: 'the tag was moved' });
      }
      const descriptor = { mediaType: parsed.mediaType, digest, size: bytes.length };
      const subject = parsed.subject === undefined ? {} : { subject: parsed.subject.digest };
      const referrer = referrerDescriptor(parsed, digest, bytes.length);
      repository.manifests.set(digest, { descriptor, bytes: Buffer.from(bytes), referrer, ...subject });
      for (const tag of tags) repository.tags.set(tag, digest);
      listed.add(name);
      return { descriptor, tags, ...subject };
    },

    async deleteBlob(name, digest) {
      blob(name, digest);
      open(name).blobs.delete(digest);
    },
    async deleteManifest(name, digest) {
      const { manifests, tags } = open(name);
      if (!manifests.delete(digest)) throw new OciError('MANIFEST_UNKNOWN');
      for (const [tag, target] of tags) if (target === digest) tags.delete(tag);
    },
    async deleteTag(name, tag) {
      if (!open(name).tags.delete(tag)) throw new OciError('MANIFEST_UNKNOWN');
    },

    async listTags(name, page) {
      if (!listed.has(name)) throw new OciError('NAME_UNKNOWN');
      return pageOf([...open(name).tags.keys()], (tag) => tag, page);
    },
    listRepositories: async (page) => pageOf([...listed], (name) => name, page),
    async listReferrers(name, subject, { artifactType, ...page }) {
      const all = [...(repositories.get(name)?.manifests.values() ?? [])]
        .filter((entry) => entry.subject === subject)
        .map((entry) => entry.referrer)
        .filter((entry) => artifactType === undefined || entry.artifactType === artifactType);
      return pageOf(all, (entry) => entry.digest, page);
    },
  };
}

async function collect(
  body: Readable,
  length: number | undefined,
): Promise<{ bytes: Buffer; failure?: OciError }> {
  const chunks: Buffer[] = [];
  let cause: unknown;
  try {
    for await (const chunk of body) chunks.push(Buffer.from(chunk as Buffer));
  } catch (error) {
    cause = error;
  }
  const bytes = Buffer.concat(chunks);
  if (cause === undefined && (length === undefined || length === bytes.length)) return { bytes };
  return { bytes: bytes.subarray(0, length), failure: new OciError('SIZE_INVALID', { cause }) };
}

/** Names, tags and digests are ASCII: the order of JavaScript strings is byte order. */
function pageOf<T>(all: readonly T[], key: (entry: T) => string, { limit, last }: PageOptions): Page<T> {
  const sorted = all
    .filter((entry) => last === undefined || key(entry) > last)
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const entries = sorted.slice(0, limit);
  const end = entries.at(-1);
  return end === undefined || sorted.length <= limit ? { entries } : { entries, next: key(end) };
}
