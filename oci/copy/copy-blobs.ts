import type { Descriptor } from '../descriptor.ts';
import { childrenOf, type Manifest } from '../manifest.ts';
import { type CopyContext, type ImageCopy, unlessAbsent } from './context.ts';
import { transferBlob } from './transfer-blob.ts';

/** Makes every blob that `manifest` needs readable in the target's repository. Errors: CopyFault, CopyAborted. */
export async function copyBlobs(context: CopyContext, image: ImageCopy, manifest: Manifest): Promise<void> {
  const { needed, optional } = blobsOf(manifest);
  const outcomes = await Promise.allSettled([
    ...needed.map((blob) => copyBlob(context, image, blob)),
    // Layers that stay at their own addresses are rarely in a registry.
    ...optional.map((blob) => unlessAbsent(() => copyBlob(context, image, blob))),
  ]);
  // Only now: what this image still does must not go on behind the back of whoever handles the failure.
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** The target has this manifest, so it has its blobs: others can be mounted from there. */
export function rememberBlobs({ places }: CopyContext, { to, counts }: ImageCopy, manifest: Manifest): void {
  for (const { digest, size } of blobsOf(manifest).needed) {
    places.add(to, digest);
    counts.blobs.present += 1;
    counts.bytes.present += size;
  }
}

/** The target said that one of them is missing: nothing that was remembered of them holds. */
export function forgetBlobs({ places }: CopyContext, manifest: Manifest): void {
  for (const { digest } of blobsOf(manifest).needed) places.forget(digest);
}

async function copyBlob(context: CopyContext, image: ImageCopy, blob: Descriptor): Promise<void> {
  const { places, blobLimit, calls } = context;
  await places.alone(blob.digest, () =>
    blobLimit(async () => {
      calls.checkAborted();
      const outcome = await bring(context, image, blob);
      places.add(image.to, blob.digest);
      image.counts.blobs[outcome] += 1;
      image.counts.bytes[outcome] += blob.size;
    }),
  );
}

/** Bytes from which on it is worth asking whether any repository of the target has the blob: a no costs two requests. */
const worthAsking = 1024 * 1024;

async function bring(
  context: CopyContext,
  { from, to }: ImageCopy,
  { digest, size }: Descriptor,
): Promise<'copied' | 'mounted' | 'present'> {
  const { source, target, calls, places, signal, progress } = context;
  const subject = `blob ${digest}`;
  if (places.has(to, digest)) return 'present';
  const known = places.any(digest);
  if (known === undefined) {
    const held = await unlessAbsent(() => calls.on('target', subject, () => target.resolveBlob(to, digest)));
    if (held !== undefined) return 'present';
  }
  const origin = known ?? (context.sameRegistry && from !== to ? from : undefined);
  if (context.dryRun) {
    // So that what is missing is told before anybody relies on it.
    await calls.on('source', subject, () => source.resolveBlob(from, digest));
    return origin === undefined ? 'copied' : 'mounted';
  }
  if (origin !== undefined) {
    if (await calls.on('target', subject, () => target.mountBlob(to, digest, origin))) return 'mounted';
    places.forget(digest);
  } else if (
    size >= worthAsking &&
    (await calls.on('target', subject, () => target.mountBlob(to, digest, undefined)))
  ) {
    return 'mounted';
  }
  progress({ planned: size });
  const transfer = { source, target, from, to, digest, calls, signal };
  await transferBlob({ ...transfer, onBytes: (moved) => progress({ moved }) });
  return 'copied';
}

/** With their sizes, each once. */
function blobsOf(manifest: Manifest): {
  readonly needed: readonly Descriptor[];
  readonly optional: readonly Descriptor[];
} {
  const { config, layers, manifests } = manifest;
  const all = new Map([...layers, ...manifests, ...(config === undefined ? [] : [config])].map(byDigest));
  const { blobs, optionalBlobs } = childrenOf(manifest);
  const described = (digests: typeof blobs): Descriptor[] =>
    digests.flatMap((digest) => {
      const descriptor = all.get(digest);
      return descriptor === undefined ? [] : [descriptor];
    });
  return { needed: described(blobs), optional: described(optionalBlobs) };
}

function byDigest(descriptor: Descriptor): [Descriptor['digest'], Descriptor] {
  return [descriptor.digest, descriptor];
}
