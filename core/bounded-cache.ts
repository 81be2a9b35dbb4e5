import { LRUCache } from 'lru-cache';

export interface BoundedCacheOptions {
  /** Milliseconds until an entry is gone, counted from when it was set. Default: as long as there is room. */
  readonly ttl?: number;
}

/**
 * An LRU cache of at most `entries` that takes memory as it fills. Given as `max`, the library would set aside room for all of them at once: 10 ms and a
 * MiB or more for 100,000 that may never come, in every process.
 */
export function createBoundedCache<Key extends {}, Value extends {}>(
  entries: number,
  options: BoundedCacheOptions = {},
): LRUCache<Key, Value> {
  return new LRUCache<Key, Value>({ ...options, maxSize: entries, sizeCalculation: () => 1 });
}
