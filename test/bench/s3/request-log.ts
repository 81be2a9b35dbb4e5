import { open, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** S3 requests by method, e.g. `{ GET: 3, PUT: 1 }`. */
export type RequestCounts = Readonly<Record<string, number>>;

export interface RequestLog {
  /** A place in the log; everything before it was written. */
  mark(): Promise<number>;
  /** Requests to `bucket` since `mark`. */
  since(mark: number, bucket: string): Promise<RequestCounts>;
}

/** Counts requests in the log of Ceph's gateway, which must have been started with `requestLog`. */
export function createRequestLog(file: string): RequestLog {
  const settled = async (): Promise<number> => {
    // The gateway's log is written by a thread of its own, a moment behind.
    for (let before = -1; ; await delay(250)) {
      const { size } = await stat(file);
      if (size === before) return size;
      before = size;
    }
  };
  return {
    mark: settled,
    async since(mark, bucket) {
      const end = await settled();
      const counts: Record<string, number> = {};
      const handle = await open(file);
      try {
        const stream = handle.createReadStream({ start: mark, end, encoding: 'utf8', autoClose: false });
        let rest = '';
        for await (const chunk of stream) {
          const lines = (rest + (chunk as string)).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) {
            const match = / beast: .*? "([A-Z]+) \/([^/? ]+)/.exec(line);
            if (match?.[2] === bucket) counts[match[1] ?? ''] = (counts[match[1] ?? ''] ?? 0) + 1;
          }
        }
      } finally {
        await handle.close();
      }
      return counts;
    },
  };
}

export function total(counts: RequestCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
