import { createHash } from 'node:crypto';
import { pipeline, Transform } from 'node:stream';
import type { Descriptor } from '../descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, digestOfHash, isDigest, parseDigest } from '../digest.ts';
import { OciError } from '../errors.ts';
import { mediaTypes } from '../media-types.ts';
import type { ManifestContent, Reader } from '../registry.ts';
import { drain, readBytes } from './answers.ts';
import type { ClientSession } from './session.ts';
import type { Answer } from './transport.ts';

const manifestLimit = 4 * 1024 * 1024;

/** Old registries convert a manifest that is not asked for by name. */
const acceptManifests = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerManifestList,
  '*/*',
].join(', ');

/** Whatever is read is compared with its digest; a range cannot be. */
export function createClientReader(session: ClientSession): Reader {
  return {
    async getBlob(repository, digest, range) {
      const route = { kind: 'blob', repository, digest } as const;
      const headers: Record<string, string> =
        range === undefined ? {} : { range: `bytes=${range.start}-${range.end}` };
      const answer = await session.call({ method: 'GET', route, headers });
      if (range === undefined) {
        const size = lengthOf(answer);
        return { size, body: verifying(answer, digest, size) };
      }
      const size = totalOf(answer.headers['content-range']);
      if (answer.status !== 206 || size === undefined) {
        answer.body.destroy();
        throw new OciError('UNAVAILABLE', { message: `${answer.url.host} does not serve ranges` });
      }
      return { size, body: verifying(answer, undefined, range.end - range.start + 1) };
    },
    async resolveBlob(repository, digest) {
      const route = { kind: 'blob', repository, digest } as const;
      const answer = await session.call({ method: 'HEAD', route });
      await drain(answer);
      return { mediaType: 'application/octet-stream', digest, size: lengthOf(answer) };
    },
    getManifest,
    async resolveManifest(repository, reference) {
      const route = { kind: 'manifest', repository, reference } as const;
      const answer = await session.call({ method: 'HEAD', route, headers: { accept: acceptManifests } });
      await drain(answer);
      const digest = isDigest(reference) ? reference : headerDigest(answer);
      const mediaType = mediaTypeOf(answer);
      // The spec only recommends these headers.
      if (digest === undefined || mediaType === undefined || answer.headers['content-length'] === undefined) {
        return (await getManifest(repository, reference)).descriptor;
      }
      return { mediaType, digest, size: lengthOf(answer) };
    },
  };

  async function getManifest(repository: string, reference: string): Promise<ManifestContent> {
    const route = { kind: 'manifest', repository, reference } as const;
    const answer = await session.call({ method: 'GET', route, headers: { accept: acceptManifests } });
    const bytes = await readBytes(answer.body, manifestLimit);
    const expected = isDigest(reference) ? reference : headerDigest(answer);
    const digest = digestOf(bytes, expected === undefined ? 'sha256' : digestAlgorithm(expected));
    if (expected !== undefined && digest !== expected) throw mismatch(answer);
    const mediaType = mediaTypeOf(answer) ?? mediaTypes.ociManifest;
    const descriptor: Descriptor = { mediaType, digest, size: bytes.length };
    return { descriptor, bytes };
  }
}

/**
 * Fails at its end when the bytes are not what they should be. The last piece is kept back until then, as whoever passes bytes on
 * by their announced number would have a complete answer otherwise.
 */
function verifying(answer: Answer, digest: Digest | undefined, size: number): Transform {
  const algorithm = digest === undefined ? undefined : digestAlgorithm(digest);
  const hash = algorithm === undefined ? undefined : createHash(algorithm);
  let seen = 0;
  let held: Buffer | undefined;
  const check = new Transform({
    highWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, callback) {
      seen += chunk.length;
      hash?.update(chunk);
      callback(null, held);
      held = chunk;
    },
    flush(callback) {
      const right =
        seen === size &&
        (hash === undefined || algorithm === undefined || digestOfHash(algorithm, hash) === digest);
      if (right) callback(null, held);
      else callback(mismatch(answer));
    },
  });
  // The error reaches whoever reads `check`, be it later; until then it must not end the process.
  check.on('error', () => {});
  pipeline(answer.body, check, () => {});
  return check;
}

function mismatch(answer: Answer): OciError {
  return new OciError('UNAVAILABLE', {
    message: `${answer.url.host} sent bytes that do not match their digest`,
  });
}

function headerDigest(answer: Answer): Digest | undefined {
  const header = answer.headers['docker-content-digest'];
  return typeof header === 'string' && isDigest(header) ? parseDigest(header) : undefined;
}

function mediaTypeOf(answer: Answer): string | undefined {
  return answer.headers['content-type']?.split(';', 1)[0]?.trim();
}

function lengthOf(answer: Answer): number {
  const length = Number(answer.headers['content-length'] ?? Number.NaN);
  if (Number.isSafeInteger(length)) return length;
  answer.body.destroy();
  throw new OciError('UNAVAILABLE', { message: `${answer.url.host} does not tell the size` });
}

function totalOf(header: string | undefined): number | undefined {
  const match = /^bytes [0-9]+-[0-9]+\/([0-9]{1,15})$/.exec(header ?? '');
  return match === null ? undefined : Number(match[1]);
}
