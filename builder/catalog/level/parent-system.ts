import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { UserError } from '../../../core/user-error.ts';
import { digestHex } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import type { Reader } from '../../../oci/registry.ts';
import type { BaseImage } from '../../engines/assembler/base-image.ts';
import { readingBase } from '../../engines/base-image-gone.ts';
import type { LevelImage } from '../../engines/level-sandbox.ts';
import { readContent } from '../file-tree.ts';

const statusPath = 'var/lib/dpkg/status';

/** All of Debian's packages at once take 60 MB. */
const largestStatus = 64 * 1024 ** 2;

/**
 * dpkg's status file in an image: what is installed. Read from the layers, once for each image, as no engine need be there. Errors: UserError
 * when the image has none, BaseImageGone.
 */
export async function readInstalled(
  image: LevelImage,
  deps: { readonly registry: Reader; readonly layers: BaseImage['layers']; readonly cacheDir: string },
): Promise<Buffer> {
  const folder = join(deps.cacheDir, 'dpkg-status');
  const file = join(folder, digestHex(image.digest));
  const known = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (known !== undefined) return known;
  for (const layer of deps.layers.toReversed()) {
    const { body } = await readingBase(image, () => deps.registry.getBlob(image.repository, layer.digest));
    const decompress = layer.mediaType.endsWith('zstd') ? createZstdDecompress() : createGunzip();
    let status: Buffer | undefined;
    await pipeline(body, decompress, async (source: AsyncIterable<Buffer>) => {
      // To the end: a source that is left early fails the pipeline.
      for await (const { entry, body: content } of readTar(source, { readToEnd: true })) {
        if (entry.path !== statusPath || entry.type !== 'file') continue;
        if (entry.size > largestStatus)
          throw new UserError(`${image.name}: /${statusPath} has ${entry.size} bytes`);
        status = await readContent({ size: entry.size, sha256: Buffer.alloc(0), open: () => content });
      }
    });
    if (status === undefined) continue;
    await mkdir(folder, { recursive: true });
    // Whole or not at all: another process may read it meanwhile.
    const partial = `${file}.${process.pid}`;
    await writeFile(partial, status);
    await rename(partial, file);
    return status;
  }
  throw new UserError(
    `${image.name} has no /${statusPath}: Debian packages can only be added to a Debian system`,
  );
}
