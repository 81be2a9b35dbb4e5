import { encodeImageManifest } from '../../oci/encode-manifest.ts';
import type { ImageConfig } from '../../oci/image-config.ts';
import type { Layer } from '../../oci/layer.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import {
  baseDigestAnnotation,
  baseNameAnnotation,
  contractAnnotation,
  deprecationAnnotation,
  rebaseAnnotation,
  recipeAnnotation,
} from '../image-annotations.ts';
import { mergeEnvironment } from '../plan/image-content.ts';
import type { BaseFile } from './base-file.ts';
import type { CatalogEntry } from './catalog.ts';

const fixedTime = '1980-01-01T00:00:01Z';

/**
 * Base images start as root with a shell, as Debian's own do: `FROM` one, `RUN apt-get install …` works. Whatever is built for an app sets
 * user, entrypoint and command itself.
 */
export function baseImageConfig(
  entry: CatalogEntry,
  parent: ImageConfig | undefined,
  layer: Layer,
  architecture: string,
): ImageConfig {
  const { environment, command, name, version, user, workdir, expose = [] } = entry.file;
  const below = parent?.config;
  const ports = expose.map((port) => (/\/(?:tcp|udp)$/.test(String(port)) ? String(port) : `${port}/tcp`));
  const exposed = { ...below?.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
  return {
    architecture,
    os: 'linux',
    created: fixedTime,
    config: {
      Env: mergeEnvironment(below?.Env ?? [], environment ?? {}),
      ...given('User', user ?? below?.User),
      ...given('WorkingDir', workdir ?? below?.WorkingDir),
      ...given('Cmd', command ?? below?.Cmd),
      ...given('ExposedPorts', Object.keys(exposed).length === 0 ? undefined : exposed),
      Labels: { ...below?.Labels, 'org.brickyard.base': `${name}:${entry.file.channels[0]}` },
    },
    diffIds: [...(parent?.diffIds ?? []), layer.diffId],
    history: [
      ...(parent?.history ?? []),
      { created: fixedTime, created_by: `brickyard: ${name} ${version}` },
    ],
  };
}

function given<K extends string, V>(name: K, value: V | undefined): { [name in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [name in K]?: V });
}

export function baseImageManifest(image: {
  readonly entry: CatalogEntry;
  readonly base: BaseImage | undefined;
  readonly below: { readonly repository: string; readonly digest: string } | undefined;
  readonly layer: Layer;
  readonly recipe: string;
  readonly config: Buffer;
}): Buffer {
  const { digest, size, mediaType } = image.layer;
  return encodeImageManifest({
    config: image.config,
    layers: [...(image.base?.layers ?? []), { mediaType, digest, size }],
    annotations: baseImageAnnotations(image.entry, image.below, image.recipe),
  });
}

/** Of an image, and of an index of images. */
export function baseImageAnnotations(
  { file }: CatalogEntry,
  below: { readonly repository: string; readonly digest: string } | undefined,
  recipe: string,
): Record<string, string> {
  return {
    [recipeAnnotation]: recipe,
    'org.opencontainers.image.title': file.name,
    'org.opencontainers.image.version': file.version,
    ...given('org.opencontainers.image.description', file.description),
    ...given(contractAnnotation, file.contract?.abi),
    ...given(rebaseAnnotation, file.contract?.rebase),
    ...given(deprecationAnnotation, deprecation(file)),
    ...(below === undefined
      ? {}
      : {
          [baseNameAnnotation]: `${below.repository}:${file.parent?.split(':')[1] ?? ''}`,
          [baseDigestAnnotation]: below.digest,
        }),
  };
}

function deprecation({ deprecation: stated }: BaseFile): string | undefined {
  if (stated === undefined) return undefined;
  const { level, since, sunset, replacement } = stated;
  return JSON.stringify({ level, since, sunset, replacement });
}
