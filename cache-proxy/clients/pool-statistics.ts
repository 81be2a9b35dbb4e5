/** Requests for images that a pool has answered since its process started. */
export interface PoolStatistics {
  readonly served: number;
  /** 401 and 403: container engines then ask the registry itself, and say nothing. */
  readonly refused: number;
  readonly failed: number;
  /** No pulls: who somebody is, and what passes through to the origin. A client that is nobody to the pool comes no further. */
  readonly other: number;
}

/** Asks the agent's `/metrics`. Undefined: it cannot be asked from here. */
export async function readPoolStatistics(agent: string): Promise<PoolStatistics | undefined> {
  try {
    const response = await fetch(new URL('/metrics', agent), {
      signal: AbortSignal.timeout(5000),
      redirect: 'error',
    });
    const text = await response.text();
    return response.ok && text.includes('brickyard_pool_requests_total') ? parseStatistics(text) : undefined;
  } catch {
    return undefined;
  }
}

/** From Prometheus' text. */
export function parseStatistics(text: string): PoolStatistics {
  const sums = { served: 0, refused: 0, failed: 0, other: 0 };
  for (const [, labels = '', value = '0'] of text.matchAll(
    /^brickyard_pool_requests_total\{([^}]*)\}\s+([0-9.e+]+)/gm,
  )) {
    const [, kind] = /\bkind="([^"]*)"/.exec(labels) ?? [];
    const [, status = ''] = /\bstatus="([^"]*)"/.exec(labels) ?? [];
    sums[outcomeOf(kind, status)] += Number(value);
  }
  return sums;
}

function outcomeOf(kind: string | undefined, status: string): keyof PoolStatistics {
  if (kind === 'other') return 'other';
  if (/^[23]/.test(status)) return 'served';
  return status.startsWith('4') ? 'refused' : 'failed';
}

export function statisticsBetween(before: PoolStatistics, after: PoolStatistics): PoolStatistics {
  return {
    served: after.served - before.served,
    refused: after.refused - before.refused,
    failed: after.failed - before.failed,
    other: after.other - before.other,
  };
}
