import type { Digest } from '../digest.ts';
import { type Manifest, parseManifest } from '../manifest.ts';
import { isManifestType } from '../media-types.ts';
import type { ManifestContent } from '../registry.ts';
import { CopyFault, UnsupportedContent } from './copy-fault.ts';

/** A manifest of the source: its exact bytes, and what they say. */
export interface SourceManifest {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: Manifest;
}

/** Errors: UnsupportedContent for Docker's schema 1, CopyFault for what is no manifest. */
export function readSourceManifest({ descriptor, bytes }: ManifestContent, subject: string): SourceManifest {
  const { mediaType, digest } = descriptor;
  if (isSchemaOne(bytes, mediaType)) {
    throw new UnsupportedContent(
      `${subject}: Docker schema 1, which no current client pulls; push it again with a current docker`,
    );
  }
  try {
    // Some servers announce every manifest as plain JSON; then it is what it says of itself.
    return { digest, bytes, manifest: parseManifest(bytes, isManifestType(mediaType) ? mediaType : '') };
  } catch (error) {
    throw new CopyFault('source', subject, error);
  }
}

function isSchemaOne(bytes: Buffer, mediaType: string): boolean {
  if (mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+')) return true;
  if (isManifestType(mediaType)) return false;
  try {
    const { schemaVersion } = JSON.parse(bytes.toString('utf8')) as { schemaVersion?: unknown };
    return schemaVersion === 1;
  } catch {
    return false;
  }
}
