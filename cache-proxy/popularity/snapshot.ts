import { isDigest } from '../../oci/digest.ts';
import { isRepositoryName } from '../../oci/reference.ts';
import type { ImageCount, ImageKey, Popularity } from './popularity.ts';

/** What a pool knew of its images at a time: kept in its folder, and sent to the origin for pools that know nothing yet. */
export interface PopularitySnapshot {
  readonly version: 1;
  /** Milliseconds since 1970: the counts are as of then. */
  readonly time: number;
  /** Milliseconds. */
  readonly halfLife: number;
  /** The most pulled first. */
  readonly images: readonly ImageCount[];
}

/** Images of a snapshot; what is pulled less than the 5,000th says nothing about anybody else. */
export const maxSnapshotImages = 5000;

/** Of a snapshot as JSON. 5,000 images with the longest names come to less. */
export const maxSnapshotBytes = 4 * 1024 * 1024;

export function takeSnapshot(
  popularity: Popularity,
  now: number,
  halfLife: number,
  limit = maxSnapshotImages,
): PopularitySnapshot {
  const images = popularity.counts(now, limit).filter(({ count }) => count > 1e-6);
  return { version: 1, time: now, halfLife, images };
}

/** Counts as if `popularity` had seen what the snapshot had; another half-life is no other number of pulls in a day. */
export function addSnapshot(popularity: Popularity, snapshot: PopularitySnapshot, halfLife: number): void {
  for (const image of snapshot.images) {
    popularity.add(image, snapshot.time, (image.count * halfLife) / snapshot.halfLife);
  }
}

/** Checks what came from a file or over the wire. Errors: SnapshotInvalid, which names the place. */
export function parseSnapshot(value: unknown, now: number): PopularitySnapshot {
  if (!isObject(value)) throw new SnapshotInvalid('expected an object');
  const { version, time, halfLife, images } = value;
  if (version !== 1) throw new SnapshotInvalid('version must be 1');
  if (!isPositive(time)) throw new SnapshotInvalid('time must be milliseconds since 1970');
  // A clock that runs ahead would make its pulls count more than everybody's.
  if (time > now + 3_600_000) throw new SnapshotInvalid('time lies in the future: check that clock');
  if (!isPositive(halfLife) || halfLife < 60_000) {
    throw new SnapshotInvalid('halfLife must be milliseconds, a minute at least');
  }
  if (!Array.isArray(images) || images.length > maxSnapshotImages) {
    throw new SnapshotInvalid(`images must be a list of at most ${maxSnapshotImages}`);
  }
  return { version, time, halfLife, images: images.map(parseCount) };
}

export class SnapshotInvalid extends Error {
  override readonly name = 'SnapshotInvalid';
}

function parseCount(value: unknown, index: number): ImageCount {
  const image = isObject(value) ? parseImage(value) : undefined;
  const count = isObject(value) ? value.count : undefined;
  if (image === undefined || !isPositive(count) || count > 1e12) {
    throw new SnapshotInvalid(`images[${index}] must have a repository, a digest and a count`);
  }
  return { ...image, count };
}

/** Undefined: not one. */
function parseImage({ ns, repository, digest }: Record<string, unknown>): ImageKey | undefined {
  if (typeof repository !== 'string' || !isRepositoryName(repository)) return undefined;
  if (typeof digest !== 'string' || !isDigest(digest)) return undefined;
  if (ns === undefined) return { repository, digest };
  return typeof ns === 'string' && /^[a-zA-Z0-9.:-]{1,255}$/.test(ns)
    ? { ns, repository, digest }
    : undefined;
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
