import { type Digest, digestOf } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { encodeImageConfig } from '../../oci/image-config.ts';
import type { Layer } from '../../oci/layer.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import { mountLayers } from '../engines/assembler/mount-layers.ts';
import { baseImageConfig, baseImageManifest, recipeAnnotation } from './base-image-documents.ts';
import { buildKey, recipeKey } from './build-key.ts';
import type { CatalogEntry } from './catalog.ts';
import { readLevelScript } from './level/level-script.ts';
import type { LevelParent } from './level/make-level.ts';
import { type LevelContext, levelTimeout, reporter } from './level-context.ts';
import { makeLayer } from './make-layer.ts';
import { smokeTest } from './smoke-test.ts';
import { readStaticFiles } from './static-files.ts';

/** An entry's image in the registry, under its digest and its immutable tag; its channels are another step. */
export interface LevelImageBuilt {
  readonly entry: CatalogEntry;
  readonly digest: Digest;
  /** The immutable tag; undefined when recipe and parent are those of the image in the first channel, which then is this one. */
  readonly tag?: string;
  /** The first channel points, or pointed, to something else. */
  readonly changed: boolean;
  /** Bytes of the own compressed layer. */
  readonly layerBytes: number;
}

/**
 * Makes an entry's image over `below`, tries it, and gives it its immutable tag. One whose recipe and parent are those of the image in the first
 * channel is left alone. Errors: UserError, EngineMissing, JobFailed (its script or test failed), BaseImageGone, ContainerApiError, those of the registry.
 */
export async function buildLevel(
  entry: CatalogEntry,
  options: {
    /** The image of the parent; undefined at the bottom. May be still in the making. */
    readonly below: Promise<LevelImageBuilt> | undefined;
    readonly suite: string | undefined;
  },
  context: LevelContext,
): Promise<LevelImageBuilt> {
  const { registry, architecture } = context;
  const report = reporter(entry, context);
  const [staticFiles, script, current] = await Promise.all([
    readStaticFiles(entry),
    readLevelScript(entry),
    currentImage(registry, entry),
  ]);

  // A layer without a script does not depend on the parent, so it is made while the parent is: with most of a level's time spent in
  // downloads and compression, two levels take little longer than the slower one. Only when it surely will be needed.
  const early =
    script === undefined && (current === undefined || context.update)
      ? makeLayer(entry, { staticFiles }, context)
      : undefined;
  early?.catch(() => undefined);
  const parent = await describeParent(await options.below, options.suite, context);
  const recipe = recipeKey({
    entry,
    staticFiles,
    parent: parent?.digest,
    architecture,
    ...(script === undefined ? {} : { script }),
  });
  if (current?.recipe === recipe && !context.update) {
    report('done', 1, 1);
    return { entry, digest: current.digest, changed: false, layerBytes: 0 };
  }
  const run = script === undefined || parent === undefined ? undefined : { script, parent };
  const { layer, sources } = await (early ??
    makeLayer(entry, { staticFiles, ...(run === undefined ? {} : { run }) }, context));
  report('push', 0, 1);
  if (parent !== undefined) await mountLayers(registry, entry.repository, parent.layers, parent);
  const image = await pushImage({ entry, parent, layer, recipe, architecture }, registry);
  report('push', 1, 1);
  const changed = image.digest !== current?.digest;
  if (changed) await tryImage(image);
  const tag = `${entry.file.version}-${buildKey(recipe, sources).slice(0, 8)}`;
  await registry.putManifest(entry.repository, tag, image.bytes, mediaTypes.ociManifest);
  report('done', 1, 1);
  return { entry, digest: image.digest, tag, changed, layerBytes: layer.size };

  async function tryImage(made: {
    readonly digest: Digest;
    readonly layers: BaseImage['layers'];
  }): Promise<void> {
    const { test } = entry.file;
    if (test === undefined) return;
    report('test', 0, 1);
    // Where it fails, somebody wants to look into the image; it has no tag yet.
    context.output(entry, `trying ${entry.repository}@${made.digest}`);
    const sandbox = test.commands === undefined ? undefined : await context.sandbox();
    await context.runs(() =>
      smokeTest(
        entry,
        { name: entry.id, repository: entry.repository, ...made },
        {
          registry,
          sandbox,
          timeoutSeconds: levelTimeout(entry),
          signal: context.signal,
          log: (line) => context.output(entry, line),
          note: (line) => context.note(line),
        },
      ),
    );
    report('test', 1, 1);
  }
}

async function describeParent(
  below: LevelImageBuilt | undefined,
  suite: string | undefined,
  context: LevelContext,
): Promise<(LevelParent & BaseImage) | undefined> {
  if (below === undefined) return undefined;
  const image = { name: below.entry.id, repository: below.entry.repository, digest: below.digest };
  return { ...image, ...(await context.readBase(image)), suite };
}

/** What the first channel points to; the recipe is '' for an image that somebody else pushed. */
async function currentImage(
  registry: Registry,
  entry: CatalogEntry,
): Promise<{ digest: Digest; recipe: string } | undefined> {
  try {
    const { bytes, descriptor } = await registry.getManifest(entry.repository, entry.file.channels[0] ?? '');
    const manifest = parseManifest(bytes, descriptor.mediaType);
    return { digest: descriptor.digest, recipe: manifest.annotations?.[recipeAnnotation] ?? '' };
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
    throw error;
  }
}

/** The image under its digest alone. */
async function pushImage(
  image: {
    readonly entry: CatalogEntry;
    readonly parent: (LevelParent & BaseImage) | undefined;
    readonly layer: Layer;
    readonly recipe: string;
    readonly architecture: string;
  },
  registry: Registry,
): Promise<{ digest: Digest; bytes: Buffer; layers: BaseImage['layers'] }> {
  const { entry, parent, layer, recipe } = image;
  const config = encodeImageConfig(baseImageConfig(entry, parent?.config, layer, image.architecture));
  await registry.putBlob(entry.repository, digestOf(config), config);
  const bytes = baseImageManifest({ entry, base: parent, below: parent, layer, recipe, config });
  const digest = digestOf(bytes);
  await registry.putManifest(entry.repository, digest, bytes, mediaTypes.ociManifest);
  return { digest, bytes, layers: [...(parent?.layers ?? []), layer] };
}
