import { type Answer, ConnectionLost } from '../../helpers/fault-http.ts';
import type { Content, Random } from '../../helpers/fault-random.ts';
import { planUpload, resumeUpload, runUpload } from '../../helpers/fault-upload.ts';
import type { SoakCounts } from './counts.ts';
import type { SoakImage } from './image.ts';
import type { SoakHttp } from './transport.ts';

export interface PushOptions {
  readonly http: SoakHttp;
  readonly counts: SoakCounts;
  readonly random: Random;
  /** Repositories that may have a blob. */
  readonly sources: readonly string[];
  /** Send a blob again when it is said to be unknown, as clients of a registry with a grace of zero have to. */
  readonly sendAgain: boolean;
}

/** The registry said no: what it said. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly status: number;
  constructor(what: string, answer: Answer) {
    super(`${what}: ${answer.status} ${answer.body.toString('utf8', 0, 300)}`);
    this.status = answer.status;
  }
}

const mostTries = 200;

/**
 * As docker and skopeo do: HEAD each blob, mount or upload what is missing, then PUT the manifest. Connections that break are no
 * failure. Errors: Refused.
 */
export async function pushImage(
  options: PushOptions,
  repository: string,
  image: SoakImage,
  reference: string,
): Promise<void> {
  const { http, counts, sendAgain } = options;
  const started = performance.now();
  for (let tries = 1; ; tries++) {
    try {
      await Promise.all(image.blobs.map((blob) => provideBlob(options, repository, blob)));
      const answer = await http.send('PUT', `/v2/${repository}/manifests/${reference}`, {
        headers: { 'content-type': image.mediaType },
        body: image.bytes,
      });
      if (answer.status !== 201) throw new Refused(`manifest ${repository}:${reference}`, answer);
      break;
    } catch (error) {
      if (!isUnknownBlob(error) || !sendAgain || tries === mostTries) throw error;
      counts.askedAgain++;
    }
  }
  counts.pushes++;
  counts.slowestPushMs = Math.max(counts.slowestPushMs, performance.now() - started);
}

/** The blob is not there (any more), or what came of it so far is not. */
export function isUnknownBlob(error: unknown): boolean {
  return (
    error instanceof Error && /BLOB_UNKNOWN|BLOB_UPLOAD_UNKNOWN|MANIFEST_BLOB_UNKNOWN/.test(error.message)
  );
}

async function provideBlob(options: PushOptions, repository: string, blob: Content): Promise<void> {
  const { http, random } = options;
  const path = `/v2/${repository}/blobs/${blob.digest}`;
  const head = await http.send('HEAD', path);
  if (head.status === 200) return;
  if (head.status !== 404) throw new Refused(`HEAD ${path}`, head);
  if (random.chance(0.4) && (await mounted(options, repository, blob))) return;
  if (random.chance(0.3)) {
    const answer = await http.send('POST', `/v2/${repository}/blobs/uploads/?digest=${blob.digest}`, {
      headers: { 'content-type': 'application/octet-stream' },
      body: blob.bytes(),
    });
    if (answer.status !== 201) throw new Refused(`upload in one request of ${path}`, answer);
    return;
  }
  const upload = planUpload(repository, blob, random);
  await http.persist(async (tries) => {
    try {
      if (tries === 1 || !(await resumeUpload(http.once, upload))) await runUpload(http.once, upload);
    } catch (error) {
      // The last words of a server that died, arriving late: ask where to go on.
      if (!/RANGE_INVALID/.test(String(error))) throw error;
      throw new ConnectionLost(`upload of ${path}`, { cause: error });
    }
  });
}

/** By name, or from anywhere. */
async function mounted(options: PushOptions, repository: string, blob: Content): Promise<boolean> {
  const { http, random, sources } = options;
  const from = random.chance(0.8) ? `&from=${random.pick(sources)}` : '';
  const path = `/v2/${repository}/blobs/uploads/?mount=${blob.digest}${from}`;
  const answer = await http.send('POST', path, { body: Buffer.alloc(0) });
  if (answer.status === 201) return true;
  if (answer.status !== 202) throw new Refused(`mount into ${repository}`, answer);
  await http.send('DELETE', answer.headers.location ?? '');
  return false;
}
