import { buffer } from 'node:stream/consumers';
import { suggest } from '../../core/document/suggest.ts';
import { formatPlatformName } from '../../oci/copy/choose-platform.ts';
import { isOciError } from '../../oci/errors.ts';
import { parseImageConfig } from '../../oci/image-config.ts';
import { type Manifest, maxManifestBytes, parseManifest } from '../../oci/manifest.ts';
import { isTag } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import { catalogTeam } from '../catalog/catalog.ts';
import { deprecationAnnotation } from '../image-annotations.ts';
import { parseDeprecation } from '../plan/deprecation.ts';
import type { MissingBase, ResolveBase } from '../plan/plan-build.ts';

const namePattern = /^([a-z0-9]+(?:[._-][a-z0-9]+)*)(?::([^:]+))?$/;
const suggestionLimit = 200;

/**
 * Base images as the registry has them now: `nodejs:26` is the image `baseimages/nodejs:26`, and `nodejs` alone is its newest channel.
 */
export function createBaseResolver(registry: Registry): ResolveBase {
  return async (name) => {
    const match = namePattern.exec(name);
    if (match === null)
      return missing(registry, name, `"${name}" is no base image's name: write NAME or NAME:CHANNEL`);
    const [, short = '', written] = match;
    const repository = `${catalogTeam}/${short}`;
    const channel = written ?? newestChannel(await channelsOf(registry, repository));
    if (channel === undefined || !isTag(channel)) {
      return missing(registry, name, `there is no base image "${short}"`);
    }
    try {
      const { descriptor, bytes } = await registry.getManifest(repository, channel);
      const annotations = annotationsOf(bytes);
      const deprecation = parseDeprecation(annotations[deprecationAnnotation]);
      return {
        name: `${short}:${channel}`,
        repository,
        digest: descriptor.digest,
        launcher: annotations['brickyard.launcher'] !== 'none',
        ...(deprecation === undefined ? {} : { deprecation }),
        platforms: () => platformsOf(registry, repository, parseManifest(bytes, descriptor.mediaType)),
      };
    } catch (error) {
      if (!isOciError(error, 'MANIFEST_UNKNOWN') && !isOciError(error, 'NAME_UNKNOWN')) throw error;
      return missing(registry, name, `there is no base image "${short}:${channel}"`);
    }
  };
}

/** Of an index what it says, of a single image what its config says. */
async function platformsOf(
  registry: Registry,
  repository: string,
  manifest: Manifest,
): Promise<readonly string[]> {
  if (manifest.kind === 'index') {
    return manifest.manifests.flatMap(({ platform }) =>
      platform === undefined || platform.os === 'unknown' ? [] : [formatPlatformName(platform)],
    );
  }
  const { config } = manifest;
  if (config === undefined || config.size > maxManifestBytes) return [];
  const { body } = await registry.getBlob(repository, config.digest);
  return [formatPlatformName(parseImageConfig(await buffer(body)))];
}

/** Tags that move; `<version>-<8 hex digits>` names one build for ever. */
async function channelsOf(registry: Registry, repository: string): Promise<string[]> {
  try {
    const { entries } = await registry.listTags(repository, { limit: suggestionLimit });
    return entries.filter((tag) => !/-[0-9a-f]{8}$/.test(tag));
  } catch (error) {
    if (isOciError(error, 'NAME_UNKNOWN')) return [];
    throw error;
  }
}

function newestChannel(channels: readonly string[]): string | undefined {
  if (channels.includes('latest')) return 'latest';
  return channels.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** The nearest name comes first: another channel of the same image, or what it could be a slip of. */
async function missing(registry: Registry, name: string, error: string): Promise<MissingBase> {
  const { entries } = await registry.listRepositories({ limit: suggestionLimit, last: `${catalogTeam}/` });
  const shorts = entries
    .filter((repository) => repository.startsWith(`${catalogTeam}/`))
    .map((repository) => repository.slice(catalogTeam.length + 1));
  const [written = ''] = name.split(':');
  const near = shorts.includes(written) ? written : suggest(written, shorts);
  const channels = near === undefined ? [] : await channelsOf(registry, `${catalogTeam}/${near}`);
  const newest = newestChannel(channels);
  if (shorts.length === 0) {
    return {
      error: `${error}, nor any other on this server (make them: brickyard base build)`,
      suggestions: [],
    };
  }
  return {
    // A name that resembles none is no slip: say what there is.
    error: near === undefined ? `${error}; there are ${shorts.slice(0, 20).join(', ')}` : error,
    suggestions: [
      ...(near === undefined ? [] : [newest === undefined ? near : `${near}:${newest}`]),
      ...channels.filter((channel) => channel !== newest).map((channel) => `${near}:${channel}`),
    ],
  };
}

function annotationsOf(manifest: Buffer): Readonly<Record<string, unknown>> {
  const { annotations } = JSON.parse(manifest.toString('utf8')) as { annotations?: Record<string, unknown> };
  return annotations ?? {};
}
