import type { PullRecord } from '../pull-record.ts';

/** For whom something is fetched: what its record says. */
export interface Purpose {
  /** Of the client's request. */
  readonly id: string;
  readonly about: Pick<PullRecord, 'kind' | 'ns' | 'repository' | 'digest' | 'tag'>;
  readonly prewarm: boolean;
}

/** Notes a fetch from the origin from its beginning to its end. */
export function observeFetch(
  purpose: Purpose,
  onRecord: (record: PullRecord) => void,
): {
  answered: (status: number) => void;
  bytes: (count: number) => void;
  end: (cache: PullRecord['cache']) => void;
} {
  const started = performance.now();
  const time = Date.now();
  let status = 0;
  let bytes = 0;
  let firstByteSeconds: number | undefined;
  return {
    answered(told) {
      status = told;
      firstByteSeconds = (performance.now() - started) / 1000;
    },
    bytes(count) {
      bytes += count;
    },
    end(cache) {
      onRecord({
        ...purpose.about,
        time,
        id: purpose.id,
        side: 'origin',
        method: 'GET',
        status,
        cache,
        bytes,
        seconds: (performance.now() - started) / 1000,
        ...(firstByteSeconds === undefined ? {} : { firstByteSeconds }),
        prewarm: purpose.prewarm,
      });
    },
  };
}
