import { Readable } from 'node:stream';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { RefusedCall } from '../../../../oci/client/answers.ts';
import type { OciErrorCode } from '../../../../oci/errors.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { type MirroredRegistry, mirrored } from '../../../../registry/decorators/mirrored.ts';
import type { MirrorOptions } from '../../../../registry/mirror/mirror.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

export interface MirrorFixture extends AsyncDisposable {
  /** Content is pushed here. */
  readonly upstream: Registry;
  readonly store: ObjectStore;
  /** The stored registry behind the mirror. */
  readonly stored: Registry;
  readonly registry: MirroredRegistry;
  /** `method repository` of each call that reached the upstream. */
  readonly calls: string[];
  readonly warnings: string[];
  /** Set: every call to the upstream fails with it. */
  failure: Error | undefined;
  /** Set: every call waits for it. */
  hold: Promise<void> | undefined;
  /** Set: what the upstream says of its manifests. */
  mediaType: string | undefined;
  /** Set: what an upstream's blob body becomes. */
  distort: ((body: Readable) => Readable) | undefined;
  /** Milliseconds; moves only by hand. */
  now: number;
}

export async function createMirrorFixture(
  options: Partial<MirrorOptions> & { patienceMs?: number } = {},
): Promise<MirrorFixture> {
  const folder = await createTempDirectory('mirror');
  const upstream = createMemoryRegistry();
  const store = createMemoryStore();
  const stored = createStoredRegistry({ store });
  const calls: string[] = [];
  const warnings: string[] = [];
  const watched = <A extends unknown[], R>(
    name: string,
    method: (repository: string, ...args: A) => Promise<R>,
  ) => {
    return async (repository: string, ...args: A): Promise<R> => {
      calls.push(`${name} ${repository}`);
      if (fixture.hold !== undefined) await fixture.hold;
      if (fixture.failure !== undefined) throw fixture.failure;
      return method(repository, ...args);
    };
  };
  const { patienceMs, ...mirror } = options;
  const registry = mirrored(stored, {
    mirrors: [
      {
        prefix: 'docker.io',
        host: 'hub.test',
        library: true,
        upstream: {
          getBlob: watched('getBlob', async (...args) => {
            const content = await upstream.getBlob(...args);
            const { distort } = fixture;
            return distort === undefined ? content : { ...content, body: distort(content.body) };
          }),
          resolveBlob: watched('resolveBlob', (...args) => upstream.resolveBlob(...args)),
          getManifest: watched('getManifest', async (...args) => {
            const { descriptor, bytes } = await upstream.getManifest(...args);
            const { mediaType = descriptor.mediaType } = fixture;
            return { descriptor: { ...descriptor, mediaType }, bytes };
          }),
          resolveManifest: watched('resolveManifest', (...args) => upstream.resolveManifest(...args)),
          listTags: watched('listTags', (...args) => upstream.listTags(...args)),
          listReferrers: watched('listReferrers', (...args) => upstream.listReferrers(...args)),
        },
        ...mirror,
      },
    ],
    sparse: createStoredRegistry({ store, allowMissingBlobs: true }),
    spoolFolder: folder.path,
    log: { warn: (_fields, message) => warnings.push(message) },
    clock: () => fixture.now,
    ...(patienceMs === undefined ? {} : { patienceMs }),
  });
  const fixture: MirrorFixture = {
    upstream,
    store,
    stored,
    registry,
    calls,
    warnings,
    failure: undefined,
    hold: undefined,
    mediaType: undefined,
    distort: undefined,
    now: Date.now(),
    async [Symbol.asyncDispose]() {
      await registry.close();
      await folder.remove();
    },
  };
  return fixture;
}

/** What the client makes of a refusal with this status. */
export function refusal(answered: number, code: OciErrorCode = 'UNKNOWN', retryAfter?: number): RefusedCall {
  return new RefusedCall(code, { answered, retryAfter }, { message: 'the secret words of the upstream' });
}

/** A body that breaks off after `bytes`. */
export function breakOff(bytes: number): (body: Readable) => Readable {
  return (body) =>
    Readable.from(
      (async function* () {
        let left = bytes;
        for await (const chunk of body as AsyncIterable<Buffer>) {
          yield chunk.subarray(0, left);
          left -= chunk.length;
          if (left <= 0) throw new Error('the connection broke');
        }
      })(),
      { objectMode: false },
    );
}
