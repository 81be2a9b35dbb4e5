import type { Descriptor } from '../../../oci/descriptor.ts';
import { encodeImageManifest, encodeIndex } from '../../../oci/encode-manifest.ts';
import type { ImageConfig } from '../../../oci/image-config.ts';
import type { Layer } from '../../../oci/layer.ts';
import {
  baseDigestAnnotation,
  baseNameAnnotation,
  rebaseAnnotation,
  seamAnnotation,
} from '../../image-annotations.ts';
import { type ImageContent, mergeEnvironment } from '../../plan/image-content.ts';
import type { BuildPlan } from '../../plan/plan.ts';
import type { AppPartName } from './app-parts.ts';
import type { BaseImage } from './base-image.ts';

/** The time in configs and histories: a real one would give equal trees different digests. */
const fixedTime = '1980-01-01T00:00:01Z';

/** A layer of the app and what it holds, for the history. */
export interface AppLayer {
  readonly part: AppPartName;
  readonly layer: Layer;
}

/** The base's config with the plan's changes laid over it, as a Dockerfile's instructions would. */
export function imageConfig(
  base: ImageConfig,
  content: ImageContent,
  layers: readonly AppLayer[],
): ImageConfig {
  const { config } = base;
  const change = content.config;
  const keys = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, {}]));
  const stopSignal = change.stopSignal ?? config.StopSignal;
  // A history that does not count the layers, or none, cannot be continued truthfully.
  const counted = base.history?.filter((entry) => entry.empty_layer !== true).length;
  return {
    architecture: base.architecture,
    os: base.os,
    ...(base.variant === undefined ? {} : { variant: base.variant }),
    created: fixedTime,
    config: {
      User: change.user,
      ExposedPorts: { ...config.ExposedPorts, ...keys(change.exposedPorts) },
      Env: mergeEnvironment(config.Env ?? [], change.environment),
      Entrypoint: change.entrypoint,
      ...(change.command === undefined ? {} : { Cmd: change.command }),
      Volumes: { ...config.Volumes, ...keys(change.volumes) },
      WorkingDir: change.workingDirectory,
      Labels: { ...config.Labels, ...change.labels },
      ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
    },
    diffIds: [...base.diffIds, ...layers.map(({ layer }) => layer.diffId)],
    ...(base.history !== undefined && counted === base.diffIds.length
      ? { history: [...base.history, ...layers.map(({ part }) => historyOf(part))] }
      : {}),
  };
}

function historyOf(part: AppPartName): { created: string; created_by: string } {
  return { created: fixedTime, created_by: `brickyard: ${part}` };
}

/** The manifest's bytes; all that belongs to one commit stands in its annotations. */
export function imageManifest(image: {
  readonly plan: Pick<BuildPlan, 'base' | 'rebase'>;
  readonly base: BaseImage;
  readonly layers: readonly AppLayer[];
  readonly config: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
}): Buffer {
  const own = image.layers.map(({ layer: { mediaType, digest, size } }) => ({ mediaType, digest, size }));
  return encodeImageManifest({
    config: image.config,
    layers: [...image.base.layers, ...own],
    annotations: {
      ...baseAnnotations(image.plan),
      [seamAnnotation]: String(image.base.layers.length),
      ...image.annotations,
    },
  });
}

/** The index of an image for several platforms, in the order of the plan. */
export function imageIndex(image: {
  readonly plan: Pick<BuildPlan, 'base' | 'rebase'>;
  readonly manifests: readonly { readonly descriptor: Descriptor; readonly base: BaseImage }[];
  readonly annotations: Readonly<Record<string, string>>;
}): Buffer {
  return encodeIndex({
    manifests: image.manifests.map(({ descriptor, base: { config } }) => ({
      ...descriptor,
      platform: {
        architecture: config.architecture,
        os: config.os,
        ...(config.variant === undefined ? {} : { variant: config.variant }),
      },
    })),
    annotations: { ...baseAnnotations(image.plan), ...image.annotations },
  });
}

function baseAnnotations({ base, rebase }: Pick<BuildPlan, 'base' | 'rebase'>): Record<string, string> {
  const channel = base.name.includes(':') ? base.name.slice(base.name.indexOf(':')) : '';
  return {
    [baseNameAnnotation]: `${base.repository}${channel}`,
    [baseDigestAnnotation]: base.digest,
    ...(rebase === undefined ? {} : { [rebaseAnnotation]: rebase }),
  };
}
