import type { Digest } from '../digest.ts';

/** Manifests that are on the target with all they name, as this run has seen: other tags of them need no second walk. */
export interface SettledManifests {
  has(repository: string, digest: Digest): boolean;
  /** Forgets the oldest where there are too many. */
  add(repository: string, digest: Digest): void;
}

/** Some 200 bytes each. */
const defaultCapacity = 50_000;

export function createSettledManifests(capacity = defaultCapacity): SettledManifests {
  const settled = new Set<string>();
  return {
    has: (repository, digest) => settled.has(`${repository}@${digest}`),
    add(repository, digest) {
      if (settled.size >= capacity) {
        const [oldest] = settled;
        if (oldest !== undefined) settled.delete(oldest);
      }
      settled.add(`${repository}@${digest}`);
    },
  };
}
