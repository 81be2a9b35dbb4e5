import type { PullRecord } from '../pull-record.ts';

/**
 * The line that nginx writes of a client's request; fetches from registries are recorded where they are made. Neither a query nor a header of the client:
 * both may hold secrets.
 */
export const poolLogFormat =
  'pool escape=json \'{"time":$msec,"id":"$request_id","kind":"$pool_kind","ns":"$pool_ns","repository":"$pool_repo","digest":"$pool_digest",' +
  '"tag":"$pool_ref","method":"$request_method","status":$status,"cache":"$upstream_cache_status","bytes":$body_bytes_sent,' +
  '"seconds":$request_time,"stale":"$upstream_http_x_pool_stale","first":"$upstream_header_time","client":"$remote_addr","prewarm":"$pool_prewarm"}\'';

const kinds = ['blob', 'manifest', 'tag', 'other'] as const;

/** Undefined for what is no line of ours: a file may be cut in the middle of one. */
export function parsePoolLine(line: string): PullRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  const text = (name: string): string | undefined => {
    const found = fields[name];
    return typeof found === 'string' && found !== '' && found !== '-' ? found : undefined;
  };
  const number = (name: string): number => {
    const found = Number(fields[name]);
    return Number.isFinite(found) ? found : 0;
  };
  const kind = kinds.find((each) => each === fields['kind']);
  const id = text('id');
  if (kind === undefined || id === undefined) return undefined;
  const prewarm = text('prewarm') === '1';
  const first = Number.parseFloat(text('first') ?? '');
  const optional = {
    ns: text('ns'),
    repository: text('repository'),
    digest: text('digest'),
    tag: kind === 'tag' ? text('tag') : undefined,
    firstByteSeconds: Number.isNaN(first) ? undefined : first,
    client: prewarm ? undefined : text('client'),
  };
  const present = Object.fromEntries(Object.entries(optional).filter(([, found]) => found !== undefined));
  return {
    time: Math.round(number('time') * 1000),
    id,
    side: 'client',
    kind,
    ...(present as Partial<PullRecord>),
    method: text('method') ?? '',
    status: number('status'),
    cache: text('stale') === '1' ? 'stale' : (cacheWords.get(text('cache') ?? '') ?? 'bypass'),
    bytes: number('bytes'),
    seconds: number('seconds'),
    prewarm,
  };
}

/** What `$upstream_cache_status` means. */
const cacheWords: ReadonlyMap<string, PullRecord['cache']> = new Map([
  ['HIT', 'hit'],
  ['STALE', 'stale'],
  ['UPDATING', 'stale'],
  ['REVALIDATED', 'revalidated'],
  ['MISS', 'miss'],
  ['EXPIRED', 'miss'],
]);
