import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import { childrenOf, parseManifest } from '../../oci/manifest.ts';
import type { ManifestContent, Registry } from '../../oci/registry.ts';
import { isStored } from './blob-fetches.ts';
import type { MirrorLog, MirrorObserver } from './deps.ts';
import type { MirrorOptions, Origin } from './mirror.ts';
import { createSingleFlight } from './single-flight.ts';
import type { UpstreamCalls } from './upstream-calls.ts';
import { UpstreamError } from './upstream-error.ts';

export interface MirroredManifests {
  getManifest(origin: Origin, repository: string, reference: string): Promise<ManifestContent>;
}

const revalidateMs = 5 * 60 * 1000;
/** How long "the upstream has no such manifest" is believed. */
const unknownMs = 10_000;

/** What the upstream said of a reference, until when. In memory and per process: after a restart it is asked again. */
interface Checked {
  readonly there: boolean;
  readonly until: number;
}

export function createMirroredManifests(deps: {
  readonly registry: Registry;
  readonly sparse: Registry;
  readonly calls: UpstreamCalls;
  readonly log: MirrorLog;
  readonly observer?: MirrorObserver | undefined;
  readonly clock: () => number;
  readonly patienceMs: number;
}): MirroredManifests {
  const { registry, sparse, calls, log, observer, clock, patienceMs } = deps;
  const checked = createBoundedCache<string, Checked>(20_000);
  const flights = createSingleFlight<ManifestContent>();
  /** Upstreams that keep somebody waiting beyond patience just now: the next one need not wait as well. */
  const slow = new Set<string>();

  async function stored(repository: string, reference: string): Promise<ManifestContent | undefined> {
    try {
      return await registry.getManifest(repository, reference);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  function checkKnown(key: string): Checked | undefined {
    const known = checked.get(key);
    return known !== undefined && known.until > clock() ? known : undefined;
  }

  async function getByDigest(origin: Origin, repository: string, digest: Digest): Promise<ManifestContent> {
    const { mirror } = origin;
    const content = await stored(repository, digest);
    if (content !== undefined) {
      const { upstream } = mirror;
      if (calls.ailment(mirror) === undefined || (await isWhole(repository, content))) return content;
      // Its blobs come from the upstream or not at all, so that has to be there.
      await calls.ask(mirror, () => upstream.resolveManifest(origin.name, digest));
      return content;
    }
    const key = `${repository}@${digest}`;
    if (checkKnown(key)?.there === false) throw unknownManifest(repository, digest);
    return flights(key, async () => {
      // A flight before this one may have brought it.
      const known = await stored(repository, digest);
      if (known !== undefined) return known;
      const fetched = await fetchManifest(origin, digest);
      if (fetched === undefined) {
        checked.set(key, { there: false, until: clock() + unknownMs });
        throw unknownManifest(repository, digest);
      }
      return keep(mirror, repository, fetched);
    });
  }

  async function getByTag(origin: Origin, repository: string, tag: string): Promise<ManifestContent> {
    const { mirror } = origin;
    const key = `${repository}:${tag}`;
    const known = checkKnown(key);
    if (known?.there === false) throw unknownManifest(repository, tag);
    const content = await stored(repository, tag);
    if (content === undefined) return flights(key, () => revalidate(origin, repository, tag));
    if (known !== undefined) return content;
    const inTrouble = slow.has(mirror.host) || calls.ailment(mirror) !== undefined;
    if (inTrouble && (await isWhole(repository, content))) {
      return withWarning(mirror, content);
    }
    const flight = flights(key, () => revalidate(origin, repository, tag));
    try {
      return await withPatience(flight, mirror);
    } catch (error) {
      // Without its upstream an image that lacks a blob cannot be pulled, and is not answered.
      if (!(error instanceof UpstreamError) || !(await isWhole(repository, content))) throw error;
      return withWarning(mirror, content);
    }
  }

  /** Asks with HEAD, which Docker Hub does not count, and moves the tag where it moved. */
  async function revalidate(origin: Origin, repository: string, tag: string): Promise<ManifestContent> {
    const { mirror, name } = origin;
    const key = `${repository}:${tag}`;
    const head = await calls.ask(mirror, () => mirror.upstream.resolveManifest(name, tag));
    const fetched =
      head === undefined
        ? undefined
        : ((await stored(repository, head.value.digest)) ?? (await fetchManifest(origin, head.value.digest)));
    if (fetched === undefined) {
      checked.set(key, { there: false, until: clock() + unknownMs });
      throw unknownManifest(repository, tag);
    }
    const content = await keep(mirror, repository, fetched, tag);
    checked.set(key, { there: true, until: clock() + (mirror.revalidateMs ?? revalidateMs) });
    return content;
  }

  async function fetchManifest(
    { mirror, name }: Origin,
    digest: Digest,
  ): Promise<ManifestContent | undefined> {
    const answer = await calls.ask(mirror, () => mirror.upstream.getManifest(name, digest));
    if (answer === undefined) return undefined;
    const { descriptor, bytes } = answer.value;
    // Its media type is what it says of itself; the upstream's Content-Type must not say otherwise.
    const type = genericTypes.has(descriptor.mediaType) ? '' : descriptor.mediaType;
    try {
      const { mediaType } = parseManifest(bytes, type);
      return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
    } catch (error) {
      throw unfit(mirror, error);
    }
  }

  /** Errors: MANIFEST_INVALID for what contradicts what is stored. A store that fails is no reason to withhold what came. */
  async function keep(
    mirror: MirrorOptions,
    repository: string,
    content: ManifestContent,
    tag?: string,
  ): Promise<ManifestContent> {
    const { descriptor, bytes } = content;
    const { digest, mediaType } = descriptor;
    if (tag !== undefined && (await tagged(repository, tag)) === digest) return content;
    const tags = tag === undefined ? [] : [tag];
    try {
      await sparse.putManifest(repository, digest, bytes, mediaType, { tags });
    } catch (error) {
      if (isOciError(error, 'MANIFEST_INVALID')) throw unfit(mirror, error);
      log.warn({ err: error, repository, digest }, 'a mirrored manifest could not be stored');
    }
    return content;
  }

  async function tagged(repository: string, tag: string): Promise<Digest | undefined> {
    try {
      return (await registry.resolveManifest(repository, tag)).digest;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The flight goes on when patience is at its end, and the next one profits. Errors: UpstreamError. */
  async function withPatience(
    flight: Promise<ManifestContent>,
    mirror: MirrorOptions,
  ): Promise<ManifestContent> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new UpstreamError('UNAVAILABLE', `the upstream ${mirror.host} is slow`);
      timer = setTimeout(() => {
        slow.add(mirror.host);
        flight.finally(() => slow.delete(mirror.host)).catch(() => {});
        reject(error);
      }, patienceMs);
    });
    try {
      return await Promise.race([flight, late]);
    } finally {
      clearTimeout(timer);
      flight.catch(() => {});
    }
  }

  function withWarning(mirror: MirrorOptions, content: ManifestContent): ManifestContent {
    observer?.servedStale(mirror.host);
    return { ...content, warning: `not compared with ${mirror.host}, which does not answer` };
  }

  /** All blobs of an image; of an index any one of its manifests, as nobody pulls every platform. */
  async function isWhole(
    repository: string,
    { bytes, descriptor }: { bytes: Buffer; descriptor: Descriptor },
  ): Promise<boolean> {
    const { blobs, manifests } = childrenOf(parseManifest(bytes, descriptor.mediaType));
    for (const blob of blobs) if (!(await isStored(registry, repository, blob))) return false;
    for (const child of manifests) if ((await stored(repository, child)) !== undefined) return true;
    return manifests.length === 0;
  }

  return {
    getManifest: (origin, repository, reference) =>
      isDigest(reference)
        ? getByDigest(origin, repository, reference)
        : getByTag(origin, repository, reference),
  };
}

/** What servers say that do not know what they serve. */
const genericTypes: ReadonlySet<string> = new Set(['application/json', 'application/octet-stream']);

function isMissing(error: unknown): boolean {
  return isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN');
}

/** Clear, and for good: what was there before is not served in its stead. */
function unfit(mirror: MirrorOptions, cause: unknown): OciError {
  const message = `${mirror.host} sent a manifest that cannot be mirrored: ${(cause as Error).message}`;
  return new OciError('MANIFEST_INVALID', { message, cause });
}

function unknownManifest(repository: string, reference: string): OciError {
  return new OciError('MANIFEST_UNKNOWN', { detail: { name: repository, reference } });
}
