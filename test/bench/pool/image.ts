import { createHash } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomFile } from '../http.ts';

/** An image in skopeo's `dir:` format: what it pushes, and what a static web server can be filled with. */
export interface BenchImage {
  readonly folder: string;
  readonly manifest: { readonly digest: string; readonly mediaType: string };
  readonly config: BenchBlob;
  readonly layers: readonly BenchBlob[];
  /** Of all layers. */
  readonly bytes: number;
}

export interface BenchBlob {
  readonly digest: string;
  readonly bytes: number;
  /** Where its bytes are. */
  readonly file: string;
}

/** Layers of so many bytes that nothing can compress. Their media type says so, as no client here unpacks them. */
export async function createBenchImage(folder: string, layerBytes: readonly number[]): Promise<BenchImage> {
  await mkdir(folder, { recursive: true });
  const layers: BenchBlob[] = [];
  for (const [index, bytes] of layerBytes.entries()) {
    const made = join(folder, `layer-${index}`);
    layers.push(await named(folder, await randomFile(made, bytes), made));
  }
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const configFile = join(folder, 'config');
  await writeFile(configFile, configBytes);
  const config = await named(folder, digestOf(configBytes), configFile);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.bytes,
    },
    layers: layers.map(({ digest, bytes }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size: bytes,
    })),
  });
  await writeFile(join(folder, 'manifest.json'), manifest);
  await writeFile(join(folder, 'version'), 'Directory Transport Version: 1.1\n');
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  return { folder, manifest: { digest: digestOf(manifest), mediaType }, config, layers, bytes };
}

async function named(folder: string, digest: string, made: string): Promise<BenchBlob> {
  const file = join(folder, digest.slice('sha256:'.length));
  await rename(made, file);
  return { digest, bytes: (await stat(file)).size, file };
}

function digestOf(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
