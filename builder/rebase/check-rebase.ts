import type { Descriptor } from '../../oci/descriptor.ts';
import { isForeignLayer, mediaTypes } from '../../oci/media-types.ts';
import {
  contractAnnotation,
  rebaseAnnotation,
  seamAnnotation,
  versionAnnotation,
} from '../image-annotations.ts';
import { type ImageDocuments, platformOf } from './image-documents.ts';
import type { Refusal, RefusalCode } from './refusal.ts';

/** Layer types and what they are called in an OCI manifest: podman refuses an image that mixes both families. */
const layerTypes: Readonly<Record<string, string>> = {
  [mediaTypes.ociLayer]: mediaTypes.ociLayer,
  [mediaTypes.ociLayerGzip]: mediaTypes.ociLayerGzip,
  [mediaTypes.ociLayerZstd]: mediaTypes.ociLayerZstd,
  [mediaTypes.dockerLayerGzip]: mediaTypes.ociLayerGzip,
  'application/vnd.docker.image.rootfs.diff.tar': mediaTypes.ociLayer,
  'application/vnd.docker.image.rootfs.diff.tar.zstd': mediaTypes.ociLayerZstd,
};

export function ociLayerType(mediaType: string): string | undefined {
  return Object.hasOwn(layerTypes, mediaType) ? layerTypes[mediaType] : undefined;
}

/** The three images of one rebase, all of one platform. */
export interface RebaseInput {
  readonly app: ImageDocuments;
  /** What the app stands on now. */
  readonly oldBase: ImageDocuments;
  /** What it is to stand on. */
  readonly newBase: ImageDocuments;
}

/**
 * Pure: whether the app's layers may be put on the new base, undefined = they may. Cutting layers off and putting others below is safe
 * for the files only where the old base really lies under the app, and for what runs only where both bases promise the same.
 */
export function checkRebase({ app, oldBase, newBase }: RebaseInput): Refusal | undefined {
  return (
    checkMark(app) ??
    checkPlatforms(app, oldBase, newBase) ??
    checkWhole('the image', app) ??
    checkWhole('its base', oldBase) ??
    checkWhole('the new base', newBase) ??
    checkPrefix(app, oldBase) ??
    checkContract(oldBase, newBase)
  );
}

function checkMark({ manifest }: ImageDocuments): Refusal | undefined {
  if (manifest.annotations?.[rebaseAnnotation] !== 'never') return undefined;
  return refuse('never', 'the image says that it must not be rebased');
}

function checkPlatforms(app: ImageDocuments, ...bases: readonly ImageDocuments[]): Refusal | undefined {
  const wanted = platformOf(app);
  const other = bases.map(platformOf).find((platform) => platform !== wanted);
  if (other === undefined) return undefined;
  return refuse('platform', `the image is for ${wanted}, and a base is for ${other}`);
}

/** As a reader of the rebased image will check it. */
function checkWhole(what: string, { manifest, config }: ImageDocuments): Refusal | undefined {
  const { layers, subject, artifactType } = manifest;
  if (subject !== undefined || artifactType !== undefined) {
    return refuse('content', `${what} is an artifact and no image to run`);
  }
  if (config.diffIds.length !== layers.length) {
    return refuse(
      'content',
      `${what} is damaged: ${layers.length} layers, and its config lists ${config.diffIds.length} diffIDs`,
    );
  }
  for (const { mediaType } of layers) {
    if (isForeignLayer(mediaType)) {
      return refuse('content', `${what} has a layer that is not kept here (${mediaType})`);
    }
    if (ociLayerType(mediaType) === undefined) {
      return refuse('content', `${what} has a layer of an unknown type (${mediaType})`);
    }
  }
  return undefined;
}

function checkPrefix(app: ImageDocuments, oldBase: ImageDocuments): Refusal | undefined {
  const seam = app.manifest.annotations?.[seamAnnotation];
  const { layers } = oldBase.manifest;
  if (seam !== undefined && seam !== String(layers.length)) {
    return refuse(
      'prefix',
      `the image says that its base has ${seam} layers, and its base has ${layers.length}`,
    );
  }
  const differs = (index: number, { digest }: Descriptor): boolean =>
    app.manifest.layers[index]?.digest !== digest ||
    app.config.diffIds[index] !== oldBase.config.diffIds[index];
  const at = layers.findIndex((layer, index) => differs(index, layer));
  if (at < 0) return undefined;
  return refuse('prefix', `layer ${at + 1} of the image is not that of the base that it names`);
}

/** The stricter of both promises counts. */
function checkContract(oldBase: ImageDocuments, newBase: ImageDocuments): Refusal | undefined {
  const [before, after] = [oldBase, newBase].map(({ manifest }) => {
    const annotations = manifest.annotations ?? {};
    return {
      abi: annotations[contractAnnotation],
      rebase: annotations[rebaseAnnotation] ?? 'never',
      version: annotations[versionAnnotation] ?? '',
    };
  });
  if (before === undefined || after === undefined) return undefined;
  if (before.abi === undefined || after.abi === undefined) {
    return refuse('contract', `${before.abi === undefined ? 'its base' : 'the new base'} has no contract`);
  }
  if (before.abi !== after.abi) {
    return refuse('contract', `the contract changed from ${before.abi} to ${after.abi}`);
  }
  for (const { rebase } of [before, after]) {
    if (rebase === 'never') return refuse('never', 'the contract of its base allows no rebase');
    // A promise that a later version invents is none that this one can judge.
    if (rebase !== 'compatible' && rebase !== 'minor') {
      return refuse(
        'contract',
        `the contract of its base says "${rebase}", which this version does not know`,
      );
    }
  }
  const minor = [before, after].some(({ rebase }) => rebase === 'minor');
  if (minor && minorOf(before.version) !== minorOf(after.version)) {
    return refuse(
      'contract',
      `the contract allows a rebase within one minor version, not from ${before.version} to ${after.version}`,
    );
  }
  return undefined;
}

/** `26.10` of `26.10.1`. */
function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

function refuse(code: RefusalCode, reason: string): Refusal {
  return { code, reason };
}
