import type { Digest } from '../../oci/digest.ts';
import type { ImageConfig } from '../../oci/image-config.ts';
import type { Manifest } from '../../oci/manifest.ts';

/** All that is read of one image of one platform; its layers stay where they are. */
export interface ImageDocuments {
  readonly digest: Digest;
  /** Always of the kind `image`. */
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** The config's JSON as it was pushed, with the fields that `config` does not know. */
  readonly document: JsonObject;
}

/** What a reference names: one image, or one for each platform. */
export interface ImageSet {
  readonly digest: Digest;
  readonly kind: 'image' | 'index';
  /** Of the manifest or index itself. */
  readonly annotations: Readonly<Record<string, string>>;
  /** In the order of the index. */
  readonly images: readonly ImageDocuments[];
  /** Manifests of the index that are no image of a platform: attestations. */
  readonly others: number;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** `linux/amd64`, `linux/arm/v7`; arm64 has only one variant in use, so v8 is the same as none. */
export function platformOf({ config }: Pick<ImageDocuments, 'config'>): string {
  const { os, architecture, variant } = config;
  const plain = variant === undefined || (architecture === 'arm64' && variant === 'v8');
  return plain ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
