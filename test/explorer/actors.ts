import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { Actor, ActorTools } from './actor.ts';
import type { Blob, PushedManifest } from './content.ts';
import { childrenIn } from './stored.ts';

/** What an actor promises by ending well, until somebody rightly takes it away. */
export interface Promises {
  readonly repository: string;
  readonly manifest?: PushedManifest;
  readonly tag?: string;
  readonly immutable?: boolean;
  /** Readable in the repository, as long as nobody collects. */
  readonly blob?: Digest;
}

/** What an actor may rightly take away; it has done so at the latest when it ends well. */
export interface Removes {
  readonly repository?: string;
  /** All that is in the repository. */
  readonly everything?: boolean;
  readonly manifest?: Digest;
  readonly tag?: string;
  /** The repository's right to the blob. */
  readonly link?: Digest;
  /** Blobs that no manifest needs. */
  readonly unneeded?: boolean;
}

export interface ScenarioActor extends Actor {
  readonly promises?: Promises;
  readonly removes?: Removes;
  /** Codes that are an honest answer here. UNAVAILABLE always is. */
  readonly mayFail?: readonly string[];
}

export interface PushOptions {
  readonly name?: string;
  readonly repository?: string;
  readonly tag?: string;
  readonly immutable?: boolean;
  /** The blobs are known to be there: no HEAD, no upload. */
  readonly blobsAreThere?: boolean;
  /** Does all of it once more, as a client does whose answer was lost. */
  readonly twice?: boolean;
  readonly mayFail?: readonly string[];
}

/** As docker does: HEAD, upload what is missing, PUT; again from the start where it is told that a blob is unknown. */
export function push(manifest: PushedManifest, options: PushOptions = {}): ScenarioActor {
  const { name = 'push', repository = 'a', tag, immutable = false, blobsAreThere = false } = options;
  const once = async ({ registry, product }: ActorTools): Promise<void> => {
    for (let rounds = 0; ; rounds++) {
      if (!blobsAreThere) for (const blob of manifest.blobs) await uploadMissing(blob);
      try {
        const immutableTags = immutable && tag !== undefined ? [tag] : [];
        await registry.putManifest(repository, tag ?? manifest.digest, manifest.bytes, manifest.mediaType, {
          immutableTags,
        });
        return;
      } catch (error) {
        if (rounds === 2 || blobsAreThere) throw error;
        if (!product.errors.isOciError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
      }
    }
    async function uploadMissing({ digest, bytes }: Blob): Promise<void> {
      try {
        await registry.resolveBlob(repository, digest);
      } catch (error) {
        if (!product.errors.isOciError(error, 'BLOB_UNKNOWN')) throw error;
        await registry.putBlob(repository, digest, bytes);
      }
    }
  };
  return {
    name,
    promises: { repository, manifest, ...(tag === undefined ? {} : { tag }), immutable },
    mayFail: options.mayFail ?? ['MANIFEST_BLOB_UNKNOWN'],
    async run(tools) {
      await once(tools);
      if (options.twice === true) await once(tools);
      return 'pushed';
    },
  };
}

export function putBlob(blob: Blob, name = 'putBlob', repository = 'a'): ScenarioActor {
  return {
    name,
    promises: { repository, blob: blob.digest },
    async run({ registry }) {
      await registry.putBlob(repository, blob.digest, blob.bytes);
      return 'put';
    },
  };
}

export function mount(blob: Blob, from: string | undefined, repository = 'b', name = 'mount'): ScenarioActor {
  return {
    name,
    promises: { repository, blob: blob.digest },
    mayFail: ['BLOB_UNKNOWN'],
    async run({ registry, product }) {
      if (await registry.mountBlob(repository, blob.digest, from)) return 'mounted';
      throw new product.errors.OciError('BLOB_UNKNOWN');
    },
  };
}

export function deleteManifest(digest: Digest, name = 'delete', repository = 'a'): ScenarioActor {
  return {
    name,
    removes: { repository, manifest: digest },
    mayFail: ['MANIFEST_UNKNOWN'],
    async run({ registry }) {
      await registry.deleteManifest(repository, digest);
      return 'deleted';
    },
  };
}

export function deleteTag(tag: string, name = 'delete tag', repository = 'a'): ScenarioActor {
  return {
    name,
    removes: { repository, tag },
    mayFail: ['MANIFEST_UNKNOWN'],
    async run({ registry }) {
      await registry.deleteTag(repository, tag);
      return 'deleted';
    },
  };
}

export function deleteBlob(blob: Blob, name = 'delete blob', repository = 'a'): ScenarioActor {
  return {
    name,
    removes: { repository, link: blob.digest },
    mayFail: ['BLOB_UNKNOWN'],
    async run({ registry }) {
      await registry.deleteBlob(repository, blob.digest);
      return 'deleted';
    },
  };
}

export function collectBlob(blob: Blob, name = 'collect'): ScenarioActor {
  return {
    name,
    removes: { unneeded: true },
    async run({ product, context }) {
      const { outcome } = await product.collectBlob(context, blob.digest, { graceMs: 0 });
      return outcome;
    },
  };
}

export function deleteRepository(name = 'delete repository', repository = 'a'): ScenarioActor {
  return {
    name,
    removes: { repository, everything: true },
    mayFail: ['NAME_UNKNOWN'],
    async run({ product, context }) {
      const { done } = await product.deleteRepository(context, repository);
      if (!done) throw new product.errors.OciError('UNAVAILABLE');
      return 'deleted';
    },
  };
}

/** The untagged-manifest policy, grace 0. `untagged`: somebody else may take its tag away, and so the policy the manifest. */
export function reviewManifest(
  digest: Digest,
  name = 'review',
  { repository = 'a', untagged = false }: { repository?: string; untagged?: boolean } = {},
): ScenarioActor {
  return {
    name,
    ...(untagged ? { removes: { repository, manifest: digest } } : {}),
    async run({ product, context }) {
      const options = { graceMs: 0, olderThanMs: 0 };
      return (await product.reviewManifest(context, repository, digest, options)).outcome;
    },
  };
}

/** Ends claims at any age, removes entries of dead attempts, finishes tags. */
export function scrub(blob: Blob, name = 'scrub', repository = 'a'): ScenarioActor {
  return {
    name,
    async run({ product, context }) {
      const options = { claimsOlderThanMs: 0 };
      await product.scrub.scrubBlobReferences(context, blob.digest, options);
      await product.scrub.scrubManifestReferences(context, repository, options);
      await product.scrub.scrubReferrers(context, repository, options);
      await product.scrubTags(context, repository);
      return 'scrubbed';
    },
  };
}

/** Reverse entries of tags one after the other, each by what follows `_tagsof/`. */
export function scrubTagEntries(keys: readonly string[], name = 'scrub', repository = 'a'): ScenarioActor {
  return {
    name,
    async run({ product, context }) {
      const outcomes: string[] = [];
      for (const key of keys) outcomes.push(await product.scrubTagEntry(context, repository, key));
      return outcomes;
    },
  };
}

export function expireClaim(digest: Digest, name = 'expire', repository = 'a'): ScenarioActor {
  return {
    name,
    async run({ product, context }) {
      return product.scrub.expireClaim(context, repository, digest, { olderThanMs: 0 });
    },
  };
}

export function resolveManifest(reference: string, name = 'reader', repository = 'a'): ScenarioActor {
  return {
    name,
    async run({ registry }) {
      return (await registry.getManifest(repository, reference)).descriptor.digest;
    },
  };
}

/** Tag to manifest to every blob's bytes. */
export function pull(tag: string, name = 'pull', repository = 'a'): ScenarioActor {
  return {
    name,
    async run({ registry }) {
      const { bytes, descriptor } = await registry.getManifest(repository, tag);
      for (const digest of childrenIn(bytes).blobs) {
        const { body } = await registry.getBlob(repository, digest);
        if (digestOf(await buffer(body)) !== digest) throw new Error('other bytes');
      }
      return descriptor.digest;
    },
  };
}

export interface UploadOptions {
  readonly name: string;
  /** Known once the scenario's beginning has run. */
  readonly id: () => string;
  readonly blob: Blob;
  /** Sends the bytes in a PATCH of its own first. */
  readonly patch?: boolean;
  /** Sends the bytes with the final PUT. */
  readonly body?: boolean;
}

/** The end of an upload session, `a` being its repository. */
export function finishUpload({ name, id, blob, patch, body }: UploadOptions): ScenarioActor {
  return {
    name,
    promises: { repository: 'a', blob: blob.digest },
    mayFail: ['BLOB_UPLOAD_UNKNOWN', 'RANGE_INVALID', 'DIGEST_INVALID'],
    async run({ registry }) {
      if (patch === true) await registry.writeUpload('a', id(), Readable.from([blob.bytes]), { start: 0 });
      const bytes = body === true ? Readable.from([blob.bytes]) : undefined;
      await registry.finishUpload('a', id(), blob.digest, bytes);
      return 'finished';
    },
  };
}

/** One PATCH, at byte `start`. */
export function patchUpload(id: () => string, bytes: Buffer, start: number, name: string): ScenarioActor {
  return {
    name,
    mayFail: ['BLOB_UPLOAD_UNKNOWN', 'RANGE_INVALID'],
    async run({ registry }) {
      return (await registry.writeUpload('a', id(), Readable.from([bytes]), { start })).offset;
    },
  };
}

export function cancelUpload(id: () => string, name = 'cancel'): ScenarioActor {
  return {
    name,
    mayFail: ['BLOB_UPLOAD_UNKNOWN'],
    async run({ registry }) {
      await registry.cancelUpload('a', id());
      return 'cancelled';
    },
  };
}

export function reapSession(id: () => string, name = 'reap'): ScenarioActor {
  return {
    name,
    async run({ product, context }) {
      return (await product.reapSession(context, id(), { idleMs: 0, doneMs: 0 })).outcome;
    },
  };
}
