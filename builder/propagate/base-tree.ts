import { type Digest, isDigest } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import type { Registry } from '../../oci/registry.ts';
import { catalogTeam } from '../catalog/catalog.ts';
import { baseDigestAnnotation, baseNameAnnotation, deprecationAnnotation } from '../image-annotations.ts';
import { found } from '../rebase/read-image.ts';
import { isChannel, tagsOf } from './base-key.ts';
import { parseBaseName } from './descendants.ts';

/** One channel of a base image, as the registry has it. */
export interface BaseChannel {
  /** `baseimages/jdk`. */
  readonly repository: string;
  readonly channel: string;
  readonly digest: Digest;
  /** The base image that it stands on. */
  readonly parent?: { readonly repository: string; readonly channel: string; readonly digest?: Digest };
  /** JSON of the annotation, see `deprecation` in base.yaml. */
  readonly deprecation?: string;
}

/** Where the catalog keeps its sources: no images. */
const sources = `${catalogTeam}/sources`;

/** Every channel of every base image, or of one repository. */
export async function listBaseChannels(registry: Registry, only?: string): Promise<readonly BaseChannel[]> {
  const channels: BaseChannel[] = [];
  for await (const repository of only === undefined ? baseRepositories(registry) : [only]) {
    for await (const channel of tagsOf(registry, repository)) {
      if (!isChannel(channel)) continue;
      const read = await readChannel(registry, repository, channel);
      if (read !== undefined) channels.push(read);
    }
  }
  return channels;
}

/** Undefined: it is not there. */
export async function readChannel(
  registry: Registry,
  repository: string,
  channel: string,
): Promise<BaseChannel | undefined> {
  const content = await found(() => registry.getManifest(repository, channel));
  if (content === undefined) return undefined;
  const manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  let { annotations = {} } = manifest;
  const [first] = manifest.manifests;
  if (annotations[baseNameAnnotation] === undefined && first !== undefined) {
    const child = await found(() => registry.getManifest(repository, first.digest));
    const own = child && parseManifest(child.bytes, child.descriptor.mediaType).annotations;
    annotations = { ...own, ...annotations };
  }
  const parent = parseBaseName(annotations[baseNameAnnotation] ?? '');
  const below = annotations[baseDigestAnnotation];
  const deprecation = annotations[deprecationAnnotation];
  return {
    repository,
    channel,
    digest: content.descriptor.digest,
    ...(parent === undefined
      ? {}
      : { parent: { ...parent, ...(below !== undefined && isDigest(below) ? { digest: below } : {}) } }),
    ...(deprecation === undefined ? {} : { deprecation }),
  };
}

async function* baseRepositories(registry: Registry): AsyncGenerator<string> {
  const prefix = `${catalogTeam}/`;
  let last: string | undefined = prefix;
  do {
    const page: Awaited<ReturnType<Registry['listRepositories']>> = await registry.listRepositories({
      limit: 1000,
      last,
    });
    for (const repository of page.entries) {
      if (!repository.startsWith(prefix)) return;
      if (repository !== sources) yield repository;
    }
    last = page.next;
  } while (last !== undefined);
}

/** The channels of `repository` (or one of them), then all that stand on them, level by level. */
export function withDescendants(
  channels: readonly BaseChannel[],
  repository: string,
  channel: string | undefined,
): readonly BaseChannel[] {
  const chosen = channels.filter(
    (each) => each.repository === repository && (channel === undefined || each.channel === channel),
  );
  const reached = new Set(chosen);
  for (const below of reached) {
    for (const each of channels) {
      const { parent } = each;
      if (parent?.repository === below.repository && parent.channel === below.channel) reached.add(each);
    }
  }
  return [...reached];
}
