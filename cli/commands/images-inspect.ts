import { formatPlatformName } from '../../oci/copy/choose-platform.ts';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { isManifestType } from '../../oci/media-types.ts';
import type { ImageReference } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import type { PromotionHistory } from '../../registry/http/promotion-routes.ts';
import { formatBytes, withoutControls } from '../text.ts';
import { describeRoles } from './describe-roles.ts';

export interface InspectedImage {
  readonly repository: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType?: string;
  /** What it signs or describes. */
  readonly subject?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platforms?: readonly { digest: string; platform: string }[];
  readonly layers?: readonly { digest: string; size: number }[];
  /** The image configuration's `config`: Env, Entrypoint, Cmd, Labels … */
  readonly config?: Readonly<Record<string, unknown>>;
  /** As App.yaml declared them; of an index, those of its first image. */
  readonly roles?: Readonly<Record<string, unknown>>;
  /** What App.yaml says for the scheduler. */
  readonly deploy?: Readonly<Record<string, unknown>>;
  /** Signatures and whatever else names it as its subject; the first hundred. */
  readonly referrers?: readonly { digest: string; artifactType?: string }[];
  /** Builds of this server that made exactly this image. */
  readonly builds?: PromotionHistory['builds'];
  /** Tags that it was promoted to, newest first. */
  readonly promotions?: PromotionHistory['promotions'];
}

const maxReferrers = 100;
/** No configuration is larger, and it is held in memory. */
const maxConfigBytes = 4 * 1024 * 1024;

/** What an image is made of. A configuration or roles that cannot be read are left out. Errors: OciError. */
export async function inspectImage(
  registry: Registry,
  { repository, tag, digest: wanted }: ImageReference,
): Promise<InspectedImage> {
  const { descriptor, bytes } = await registry.getManifest(repository, wanted ?? tag ?? 'latest');
  const { digest, mediaType } = descriptor;
  const manifest = parseManifest(bytes, isManifestType(mediaType) ? mediaType : '');
  const referrers = await listReferrers(registry, repository, digest);
  const found: InspectedImage = {
    repository,
    digest,
    mediaType: manifest.mediaType,
    ...(manifest.artifactType === undefined ? {} : { artifactType: manifest.artifactType }),
    ...(manifest.subject === undefined ? {} : { subject: manifest.subject.digest }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
    ...(referrers.length === 0 ? {} : { referrers }),
  };
  if (manifest.kind === 'index') {
    const platforms = manifest.manifests.map((child) => ({
      digest: child.digest,
      platform: child.platform === undefined ? 'unknown' : formatPlatformName(child.platform),
    }));
    const [first] = manifest.manifests;
    return {
      ...found,
      platforms,
      ...(first === undefined ? {} : await readFirst(registry, repository, first.digest)),
    };
  }
  const layers = manifest.layers.map((layer) => ({ digest: layer.digest, size: layer.size }));
  const config =
    manifest.config?.mediaType.includes('image') === true
      ? await readConfig(registry, repository, manifest.config.digest)
      : undefined;
  if (config === undefined) return { ...found, layers };
  return { ...found, layers, config, ...metadataOf(config['Labels']) };
}

/** What all images of an index have in common. */
async function readFirst(
  registry: Registry,
  repository: string,
  digest: Digest,
): Promise<Pick<InspectedImage, 'roles' | 'deploy'>> {
  try {
    const { descriptor, bytes } = await registry.getManifest(repository, digest);
    const { config } = parseManifest(bytes, isManifestType(descriptor.mediaType) ? descriptor.mediaType : '');
    if (config?.mediaType.includes('image') !== true) return {};
    return metadataOf((await readConfig(registry, repository, config.digest))?.['Labels']);
  } catch (error) {
    // A sparse index is an index still.
    if (isOciError(error, 'MANIFEST_UNKNOWN')) return {};
    throw error;
  }
}

function metadataOf(labels: unknown): Pick<InspectedImage, 'roles' | 'deploy'> {
  const roles = readLabel(labels, 'org.brickyard.roles');
  const deploy = readLabel(labels, 'org.brickyard.deploy');
  return { ...(roles === undefined ? {} : { roles }), ...(deploy === undefined ? {} : { deploy }) };
}

/** For people. */
export function describeImage(image: InspectedImage): readonly string[] {
  const lines = [
    `repository   ${image.repository}`,
    `digest       ${image.digest}`,
    `type         ${image.mediaType}`,
  ];
  if (image.artifactType !== undefined) lines.push(`artifact     ${image.artifactType}`);
  if (image.subject !== undefined) lines.push(`about        ${image.subject}`);
  for (const { digest, platform } of image.platforms ?? []) lines.push(`platform     ${platform}  ${digest}`);
  for (const { digest, size } of image.layers ?? [])
    lines.push(`layer        ${digest}  ${formatBytes(size)}`);
  for (const [name, value] of Object.entries(image.config ?? {})) {
    if (name !== 'Labels') lines.push(`${name.toLowerCase().padEnd(13)}${JSON.stringify(value)}`);
  }
  for (const [name, value] of Object.entries(image.annotations ?? {}))
    lines.push(`annotation   ${name}=${value}`);
  for (const { digest, artifactType } of image.referrers ?? [])
    lines.push(`referrer     ${digest}  ${artifactType ?? ''}`.trimEnd());
  for (const [name, value] of Object.entries(asObject(image.config?.['Labels']) ?? {})) {
    if (!['org.brickyard.roles', 'org.brickyard.deploy'].includes(name))
      lines.push(`label        ${name}=${String(value)}`);
  }
  for (const { build, ref, tested } of image.builds ?? [])
    lines.push(`build        ${build}  ${ref}, ${tested ? 'tests passed' : 'without tests'}`);
  for (const { tag, by, at, source } of image.promotions ?? [])
    lines.push(`promoted     ${tag}  ${at} by ${by}, from ${source}`);
  if (image.roles !== undefined) lines.push(...describeRoles(image.roles));
  for (const [name, value] of Object.entries(image.deploy ?? {}))
    lines.push(`deploy       ${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return lines.map(withoutControls);
}

async function listReferrers(
  registry: Registry,
  repository: string,
  digest: Digest,
): Promise<{ digest: string; artifactType?: string }[]> {
  const { entries } = await registry.listReferrers(repository, digest, { limit: maxReferrers });
  return entries.map((entry) => ({
    digest: entry.digest,
    ...(entry.artifactType === undefined ? {} : { artifactType: entry.artifactType }),
  }));
}

async function readConfig(
  registry: Registry,
  repository: string,
  digest: string,
): Promise<Record<string, unknown> | undefined> {
  try {
    const { body, size } = await registry.getBlob(repository, parseDigest(digest));
    if (size > maxConfigBytes) {
      body.destroy();
      return undefined;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
    const image = parseObject(Buffer.concat(chunks).toString('utf8'));
    return image === undefined ? undefined : (asObject(image['config']) ?? {});
  } catch (error) {
    // A sparse image is an image still.
    if (isOciError(error, 'BLOB_UNKNOWN')) return undefined;
    throw error;
  }
}

function readLabel(labels: unknown, name: string): Record<string, unknown> | undefined {
  const text = asObject(labels)?.[name];
  return typeof text === 'string' ? parseObject(text) : undefined;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
