import { isDeepStrictEqual } from 'node:util';
import type { Descriptor } from '../../oci/descriptor.ts';
import { encodeImageManifest } from '../../oci/encode-manifest.ts';
import { encodeImageConfig, type HistoryEntry, type ImageConfig } from '../../oci/image-config.ts';
import { baseDigestAnnotation, seamAnnotation } from '../image-annotations.ts';
import { ociLayerType, type RebaseInput } from './check-rebase.ts';
import type { JsonObject } from './image-documents.ts';
import { mergeConfig, mergeMap } from './merge-config.ts';

export interface RebasedDocuments {
  readonly config: Buffer;
  readonly manifest: Buffer;
}

/**
 * Pure: config and manifest of the app on its new base. `checkRebase` has passed; `baseDigest` is what the app will say that it stands
 * on: the new base's manifest, or its index. For an image that a build here made of a commit, they are byte for byte
 * what a build of that commit on the new base gives, unless a variable that the app changes is set by only one of both bases (it
 * then stands elsewhere in the list).
 */
export function rebaseDocuments(input: RebaseInput, baseDigest: string): RebasedDocuments {
  const { app, oldBase, newBase } = input;
  const seam = oldBase.manifest.layers.length;
  const history = spliceHistory(input);
  const { history: _, ...rest } = app.config;
  const image: ImageConfig = {
    ...rest,
    config: mergeConfig(oldBase.config.config, app.config.config, newBase.config.config),
    diffIds: [...newBase.config.diffIds, ...app.config.diffIds.slice(seam)],
    ...(history === undefined ? {} : { history }),
  };
  const config = withUnknownFields(encodeImageConfig(image), input);
  return {
    config,
    manifest: encodeImageManifest({
      config,
      layers: [...newBase.manifest.layers, ...app.manifest.layers.slice(seam)].map(toOciLayer),
      annotations: {
        ...app.manifest.annotations,
        [baseDigestAnnotation]: baseDigest,
        [seamAnnotation]: String(newBase.manifest.layers.length),
      },
    }),
  };
}

/** Readers count: an image's history is left out unless every layer has exactly one entry in it. */
function spliceHistory({ app, oldBase, newBase }: RebaseInput): readonly HistoryEntry[] | undefined {
  const { history } = app.config;
  const below = newBase.config.history;
  const seam = oldBase.config.diffIds.length;
  if (history === undefined || below === undefined) return undefined;
  if (countLayers(history) !== app.config.diffIds.length) return undefined;
  if (countLayers(below) !== newBase.config.diffIds.length) return undefined;
  const base = oldBase.config.history ?? [];
  // Entries without a layer at the seam belong to the base where its own history says so, else to the app.
  const cut =
    countLayers(base) === seam && isDeepStrictEqual(history.slice(0, base.length), base)
      ? base.length
      : indexBehindLayer(history, seam);
  return [...below, ...history.slice(cut)];
}

function countLayers(history: readonly HistoryEntry[]): number {
  return history.filter((entry) => entry.empty_layer !== true).length;
}

function indexBehindLayer(history: readonly HistoryEntry[], layers: number): number {
  let seen = 0;
  for (const [index, entry] of history.entries()) {
    if (seen === layers) return index;
    if (entry.empty_layer !== true) seen += 1;
  }
  return history.length;
}

function toOciLayer({ mediaType, digest, size, annotations }: Descriptor): Descriptor {
  return {
    mediaType: ociLayerType(mediaType) ?? mediaType,
    digest,
    size,
    // Of lazily pulled layers (eStargz): their table of contents is named there.
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** Fields that we do not interpret (`Healthcheck`, `Shell`, `author`, `os.features` …) are merged whole and kept. */
function withUnknownFields(encoded: Buffer, { app, oldBase, newBase }: RebaseInput): Buffer {
  const image = JSON.parse(encoded.toString()) as JsonObject & { config: JsonObject };
  const outer = without(app.document, [...knownFields, 'config', 'rootfs']);
  const [before, now, after] = [oldBase, app, newBase].map(({ document }) => {
    const container = document['config'];
    return typeof container === 'object' && container !== null
      ? without(container as JsonObject, knownContainerFields)
      : {};
  });
  const inner = mergeMap(before, now, after);
  if (Object.keys(outer).length === 0 && inner === undefined) return encoded;
  return Buffer.from(JSON.stringify({ ...image, config: { ...image.config, ...inner }, ...outer }));
}

const knownFields = ['created', 'architecture', 'os', 'variant', 'history'];
const knownContainerFields = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
];

function without(object: JsonObject, names: readonly string[]): Record<string, unknown> {
  // Docker writes what is not set as null, "" or false; those need no place of their own.
  return Object.fromEntries(
    Object.entries(object).filter(
      ([name, value]) =>
        !names.includes(name) && value !== null && value !== undefined && value !== '' && value !== false,
    ),
  );
}
