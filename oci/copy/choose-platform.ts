import type { Descriptor, Platform } from '../descriptor.ts';
import { isManifestType } from '../media-types.ts';

/** `os/architecture[/variant]` as docker writes it. Undefined when `text` is none. */
export function parsePlatformName(text: string): Platform | undefined {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  if (match === null) return undefined;
  const [, os = '', architecture = '', variant] = match;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export function formatPlatformName({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The first manifest of an index for this platform, as clients choose; without a variant any variant will do. */
export function choosePlatform(manifests: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  return manifests.find(
    ({ mediaType, platform }) =>
      isManifestType(mediaType) &&
      platform !== undefined &&
      platform.os === wanted.os &&
      platform.architecture === wanted.architecture &&
      (wanted.variant === undefined || platform.variant === wanted.variant),
  );
}
