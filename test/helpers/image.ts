import { type Digest, digestOf } from '../../oci/digest.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { writeLayer } from '../../oci/layer.ts';
import { mediaTypes } from '../../oci/media-types.ts';

export interface TestImage {
  readonly digest: Digest;
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly layers: readonly Buffer[];
}

/** An image of these layers; `config` becomes the config's `config`. */
export async function createImage(
  layers: readonly LayerEntry[][],
  config: object,
  architecture = process.arch === 'x64' ? 'amd64' : process.arch,
): Promise<TestImage> {
  const written = await Promise.all(
    layers.map((entries) =>
      writeLayer(entries.toSorted(byPath), async (body) => {
        const chunks: Buffer[] = [];
        for await (const chunk of body) chunks.push(chunk);
        return Buffer.concat(chunks);
      }),
    ),
  );
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: written.map(({ layer }) => layer.diffId) },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: digestOf(configBytes), size: configBytes.length },
      layers: written.map(({ layer }) => ({
        mediaType: layer.mediaType,
        digest: layer.digest,
        size: layer.size,
      })),
    }),
  );
  return {
    digest: digestOf(manifest),
    manifest,
    config: configBytes,
    layers: written.map(({ result }) => result),
  };
}

function byPath(a: LayerEntry, b: LayerEntry): number {
  return a.path < b.path ? -1 : 1;
}
