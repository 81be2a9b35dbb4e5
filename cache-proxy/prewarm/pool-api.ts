import { type PopularitySnapshot, parseSnapshot } from '../popularity/snapshot.ts';

/** What pools tell a Brickyard origin and ask of it. Another registry has none of it, and a pool works without. */
export interface PoolApi {
  /** Undefined: the origin shares nothing out. Errors: "could not look". */
  lease(
    bitsPerSecond: number,
  ): Promise<{ readonly bitsPerSecond: number; readonly seconds: number } | undefined>;
  /** False: the origin does not take it. Errors: "could not look". */
  sendPopularity(snapshot: PopularitySnapshot): Promise<boolean>;
  /** What other pools pull. Undefined: the origin does not know. Errors: "could not look". */
  otherPools(): Promise<{ readonly pools: number; readonly snapshot: PopularitySnapshot } | undefined>;
}

/** One question to the origin with the pool's account, as the agent's client of the origin asks it. Errors: no answer, 429 or 5xx. */
export type AskOrigin = (request: {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}) => Promise<{ readonly status: number; readonly body: Buffer }>;

export interface PoolApiDeps {
  readonly pool: string;
  readonly ask: AskOrigin;
  /** Told once for each question that the origin refuses, with what it said. */
  readonly onRefused?: (question: string, status: number, message: string) => void;
  readonly now?: () => number;
}

export function createPoolApi({ pool, ask, onRefused = () => {}, now = Date.now }: PoolApiDeps): PoolApi {
  const base = `/api/v1/pools/${pool}`;
  const refused = new Set<string>();
  const json = async (method: 'GET' | 'POST' | 'PUT', question: string, body?: unknown): Promise<unknown> => {
    const { status, body: answer } = await ask({
      method,
      target: `${base}/${question}`,
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) }),
    });
    if (status === 200) return JSON.parse(answer.toString('utf8'));
    // 404: another registry, or an older one. 401 and 403: this account is not named as a pool's there.
    if (status !== 404 && !refused.has(question))
      onRefused(question, status, answer.toString('utf8', 0, 300));
    refused.add(question);
    return undefined;
  };

  return {
    async lease(bitsPerSecond) {
      const answer = await json('POST', 'leases', { bitsPerSecond });
      if (answer === undefined) return undefined;
      const { bitsPerSecond: granted, seconds } = answer as Record<string, unknown>;
      if (typeof granted !== 'number' || !(granted >= 0) || typeof seconds !== 'number' || !(seconds >= 1)) {
        throw new Error('the origin granted something that is no lease');
      }
      return { bitsPerSecond: granted, seconds: Math.min(seconds, 3600) };
    },
    sendPopularity: async (snapshot) => (await json('PUT', 'popularity', snapshot)) !== undefined,
    async otherPools() {
      const answer = await json('GET', 'popularity');
      if (answer === undefined) return undefined;
      const { pools } = answer as Record<string, unknown>;
      if (typeof pools !== 'number' || !(pools >= 0))
        throw new Error('the origin does not say of how many pools');
      return { pools, snapshot: parseSnapshot(answer, now()) };
    },
  };
}
