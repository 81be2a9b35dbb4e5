import type { ListedObject, ObjectStore } from '../../core/object-store/object-store.ts';
import { logPrefix } from './build-log.ts';

/** A place in a build's log, over all of its attempts. */
export interface LogPosition {
  /** Of the attempt; 0 = before the first one. */
  readonly fence: number;
  /** Number of the next line in it. */
  readonly line: number;
}

export interface LogChunk {
  readonly key: string;
  readonly fence: number;
  /** Number of its first line. */
  readonly first: number;
  readonly lines: readonly string[];
}

export const logStart: LogPosition = { fence: 0, line: 0 };

/** `3-1042`: how a position travels as an event's id. */
export function formatLogPosition({ fence, line }: LogPosition): string {
  return `${fence}-${line}`;
}

/** Undefined for anything else. */
export function parseLogPosition(text: string): LogPosition | undefined {
  const match = /^(\d{1,6})-(\d{1,12})$/.exec(text);
  return match === null ? undefined : { fence: Number(match[1]), line: Number(match[2]) };
}

/**
 * Stored chunks behind the key `after` that may hold lines behind `position()`, in their order. One that was replaced between the listing and the
 * look (the end of an endless log moves on) is left out. Errors: ObjectStoreUnavailable.
 */
export async function* readLogChunks(
  store: ObjectStore,
  id: string,
  position: () => LogPosition,
  after: string | undefined,
): AsyncGenerator<LogChunk> {
  const prefix = logPrefix(id);
  let startAfter = after ?? `${prefix}${String(position().fence).padStart(6, '0')}-`;
  for (;;) {
    const page = await store.list({ prefix, startAfter });
    const listed = page.objects.flatMap((object) => placeOf(object) ?? []);
    for (const [index, { key, fence, first }] of listed.entries()) {
      const next = listed[index + 1];
      const at = position();
      // The next one begins at or before the position, so this one ends there.
      if (next?.fence === fence && fence === at.fence && next.first <= at.line) continue;
      const object = await store.get(key);
      if (object === undefined) continue;
      const lines = object.body.toString('utf8').replace(/\n$/, '').split('\n');
      yield { key, fence, first, lines };
    }
    if (page.next === undefined) return;
    startAfter = page.next;
  }
}

function placeOf({ key }: ListedObject): { key: string; fence: number; first: number } | undefined {
  const match = /\/(\d+)-(\d+)$/.exec(key);
  return match === null ? undefined : { key, fence: Number(match[1]), first: Number(match[2]) };
}
