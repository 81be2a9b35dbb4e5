import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import { mountLayers } from '../engines/assembler/mount-layers.ts';
import { recipeAnnotation } from '../image-annotations.ts';
import { buildKey, recipeKey } from './build-key.ts';
import type { CatalogEntry } from './catalog.ts';
import { chooseArchitectures, forArchitecture, isKnown, ownArchitectures } from './choose-architectures.ts';
import { readLevelScript } from './level/level-script.ts';
import type { LevelParent } from './level/make-level.ts';
import { type LevelContext, levelTimeout, reporter } from './level-context.ts';
import { makeLayer } from './make-layer.ts';
import { joinImages, type PushedImage, pushImage } from './push-image.ts';
import { smokeTest } from './smoke-test.ts';
import { readStaticFiles } from './static-files.ts';

/** An entry's image in the registry, under its digest and its immutable tag; its channels are another step. */
export interface LevelImageBuilt {
  readonly entry: CatalogEntry;
  /** Of the image, or of the index where there are several. */
  readonly digest: Digest;
  readonly architectures: readonly string[];
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
  const { registry } = context;
  const report = reporter(entry, context);
  const [staticFiles, script, current] = await Promise.all([
    readStaticFiles(entry),
    readLevelScript(entry),
    currentImage(registry, entry),
  ]);
  // What was made for several stays so until somebody says otherwise.
  const asked = context.architectures ?? current?.architectures ?? ownArchitectures(entry, context);

  // A layer without a script does not depend on the parent, so it is made while the parent is: with most of a level's time spent in
  // downloads and compression, two levels take little longer than the slower one. Only when it surely will be needed.
  const early =
    script === undefined && asked.length === 1 && (current === undefined || context.update)
      ? makeLayer(entry, { staticFiles }, forArchitecture(context, asked[0]))
      : undefined;
  early?.catch(() => undefined);
  const below = await options.below;
  const architectures = chooseArchitectures(entry, { asked, script, below }, context);
  const recipe = recipeKey({
    entry,
    staticFiles,
    parent: below?.digest,
    architecture: architectures.join('+'),
    ...(script === undefined ? {} : { script }),
  });
  if (current?.recipe === recipe && !context.update) {
    report('done', 1, 1);
    return { entry, digest: current.digest, architectures, changed: false, layerBytes: 0 };
  }
  const images: PushedImage[] = [];
  const sources: string[] = [];
  for (const architecture of architectures) {
    const parent = await describeParent(below, options.suite, architecture, context);
    const run = script === undefined || parent === undefined ? undefined : { script, parent };
    const made = await (early ??
      makeLayer(
        entry,
        { staticFiles, ...(run === undefined ? {} : { run }) },
        forArchitecture(context, architecture),
      ));
    sources.push(...made.sources);
    report('push', 0, 1);
    if (parent !== undefined) await mountLayers(registry, entry.repository, parent.layers, parent);
    images.push(await pushImage({ entry, parent, layer: made.layer, recipe, architecture }, registry));
    report('push', 1, 1);
  }
  const image = await joinImages({ entry, below, recipe, images }, registry);
  const changed = image.digest !== current?.digest;
  if (changed) await tryImage(image);
  const tag = `${entry.file.version}-${buildKey(recipe, sources).slice(0, 8)}`;
  await registry.putManifest(entry.repository, tag, image.bytes, image.mediaType);
  report('done', 1, 1);
  const layerBytes = images.reduce((sum, { layer }) => sum + layer.size, 0);
  return { entry, digest: image.digest, architectures, tag, changed, layerBytes };

  async function tryImage(made: PushedImage): Promise<void> {
    const { test } = entry.file;
    if (test === undefined) return;
    report('test', 0, 1);
    // Where it fails, somebody wants to look into the image; it has no tag yet.
    context.output(entry, `trying ${entry.repository}@${made.digest}`);
    // Only this machine's own can be run here.
    const runs = test.commands !== undefined && architectures.includes(context.architecture);
    const sandbox = runs ? await context.sandbox() : undefined;
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
  architecture: string,
  context: LevelContext,
): Promise<(LevelParent & BaseImage) | undefined> {
  if (below === undefined) return undefined;
  const image = { name: below.entry.id, repository: below.entry.repository, digest: below.digest };
  return { ...image, ...(await context.readBase(image, `linux/${architecture}`)), suite };
}

/** What the first channel points to; the recipe is '' for an image that somebody else pushed. */
async function currentImage(
  registry: Registry,
  entry: CatalogEntry,
): Promise<{ digest: Digest; recipe: string; architectures?: readonly string[] } | undefined> {
  try {
    const { bytes, descriptor } = await registry.getManifest(entry.repository, entry.file.channels[0] ?? '');
    const manifest = parseManifest(bytes, descriptor.mediaType);
    const found = { digest: descriptor.digest, recipe: manifest.annotations?.[recipeAnnotation] ?? '' };
    if (manifest.kind !== 'index') return found;
    const architectures = manifest.manifests.flatMap(({ platform }) => platform?.architecture ?? []);
    return { ...found, architectures: architectures.filter(isKnown) };
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
    throw error;
  }
}
