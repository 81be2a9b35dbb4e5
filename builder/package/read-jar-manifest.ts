import type { RandomBytes } from '../../core/archive/random-bytes.ts';
import { openZip } from '../../core/archive/zip-reader.ts';

/** Manifests that list the checksum of every class are long; the attributes of the jar itself stand first. */
const largestManifest = 16 * 1024 * 1024;
const keptManifest = 64 * 1024;

/** The beginning of a jar's manifest; undefined when it has none. Errors: ArchiveError when it is no jar. */
export async function readJarManifest(jar: RandomBytes): Promise<string | undefined> {
  // Nothing but the manifest is unpacked, so how much the rest would unpack to is no matter.
  const zip = await openZip(jar, { bytes: Number.MAX_SAFE_INTEGER, ratio: Number.MAX_SAFE_INTEGER });
  const entry = zip.entries.find(
    ({ path, size }) => path.toUpperCase() === 'META-INF/MANIFEST.MF' && size <= largestManifest,
  );
  if (entry === undefined) return undefined;
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of zip.read(entry)) {
    if (size < keptManifest) parts.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(parts).subarray(0, keptManifest).toString('utf8');
}
