import type { PullRecord } from '../pull-record.ts';

/** For whom something is fetched: what its record says. */
export interface Purpose {
  /** Of the client's request. */
  readonly id: string;
  readonly about: Pick<PullRecord, 'kind' | 'ns' | 'repository' | 'digest' | 'tag'>;
  readonly prewarm: boolean;
}

export interface FetchNote {
  readonly answered: (status: number) => void;
  readonly bytes: (count: number) => void;
  /** A piece is there: it has a record of its own at once, as prewarming gives way to clients by what is fetched for them. */
  readonly piece: () => void;
  readonly end: (cache: PullRecord['cache']) => void;
}

/** Notes a fetch from the origin from its beginning to its end. */
export function observeFetch(purpose: Purpose, onRecord: (record: PullRecord) => void): FetchNote {
  let started = performance.now();
  let time = Date.now();
  let status = 0;
  let bytes = 0;
  let told = false;
  let firstByteSeconds: number | undefined;
  const tell = (cache: PullRecord['cache']): void => {
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
    told = true;
    started = performance.now();
    time = Date.now();
    bytes = 0;
    firstByteSeconds = undefined;
  };
  return {
    answered(answer) {
      status = answer;
      firstByteSeconds = (performance.now() - started) / 1000;
    },
    bytes(count) {
      bytes += count;
    },
    piece: () => tell('miss'),
    end(cache) {
      if (!told || bytes > 0) tell(cache);
    },
  };
}
