import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import { errorSchema } from '../../core/http/api-answers.ts';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import { Type } from '../../core/type.ts';
import { type Lease, shareLeases } from './lease-share.ts';
import { identifyPool, type PoolCallerDeps } from './pool-caller.ts';
import { poolNameSchema } from './pool-name.ts';
import { leasesKey } from './store-keys.ts';

/** A lease that nobody renews ends by itself: a pool that dies holds nothing for longer. Seconds. */
export const leaseSeconds = 30;

/** More pools than that at the same time get nothing until others give back. */
const maxLeases = 1000;

const bodySchema = Type.Object(
  {
    bitsPerSecond: Type.Integer({
      minimum: 0,
      maximum: 1e13,
      description: 'What the pool could use; 0 gives its lease back.',
    }),
  },
  { additionalProperties: false },
);
const answerSchema = Type.Object({
  bitsPerSecond: Type.Integer({ description: 'What it may use; 0: ask again when the lease ends.' }),
  seconds: Type.Integer({ description: 'For how long. Renew it in time.' }),
});

export interface LeaseRoutesOptions extends PoolCallerDeps {
  readonly store: ObjectStore;
  /** Bits in a second that all pools together may prewarm with. Undefined: as much as each asks for. */
  readonly egress: number | undefined;
  readonly now?: () => number;
}

/**
 * `POST /api/v1/pools/<name>/leases`: the origin's own link is one for all pools, whose prewarming begins at the same hour. Leases are in one document of the
 * object store, so that all replicas grant from the same sum; Redis would save a write per pool in 20 seconds, and is not needed for that.
 */
export function createLeaseRoutes(options: LeaseRoutesOptions): FastifyPluginAsync {
  const { store, egress, now = Date.now } = options;
  return async (app: FastifyInstance) => {
    app.post<{ Params: { name: string }; Body: Static<typeof bodySchema> }>(
      '/api/v1/pools/:name/leases',
      {
        schema: {
          tags: ['pools'],
          summary: "Part of the origin's link for prewarming",
          params: poolNameSchema,
          body: bodySchema,
          response: { 200: answerSchema, 401: errorSchema, 403: errorSchema },
        },
      },
      async (request, reply) => {
        void reply.header('Cache-Control', 'no-store');
        const identity = await identifyPool(options, request, reply);
        if (identity === undefined) return reply;
        const { bitsPerSecond: wanted } = request.body;
        if (egress === undefined) return { bitsPerSecond: wanted, seconds: leaseSeconds };
        const holder = `${identity.principal.name}/${request.params.name}`;
        const granted = await lease(store, { holder, wanted }, { limit: egress, now });
        return { bitsPerSecond: granted, seconds: leaseSeconds };
      },
    );
  };
}

/** Errors: ObjectStoreUnavailable. */
async function lease(
  store: ObjectStore,
  ask: { readonly holder: string; readonly wanted: number },
  options: { readonly limit: number; readonly now: () => number },
): Promise<number> {
  const { limit, now } = options;
  for (let attempt = 0; attempt < 10; attempt++) {
    const stored = await store.get(leasesKey);
    const known = stored === undefined ? [] : readLeases(stored.body);
    const time = now();
    const shared = shareLeases(known, { ...ask, until: time + leaseSeconds * 1000 }, { limit, now: time });
    if (shared.leases.length > maxLeases) return 0;
    const body = Buffer.from(JSON.stringify({ version: 1, leases: shared.leases }));
    try {
      const condition = stored === undefined ? ({ ifNoneMatch: '*' } as const) : { ifMatch: stored.etag };
      // Power loss ends leases a little early; each is written again in seconds anyway.
      await store.put(leasesKey, body, { ...condition, durability: 'process' });
      return shared.granted;
    } catch (error) {
      if (!(error instanceof PreconditionFailed)) throw error;
      await sleep(Math.random() * 20 * (attempt + 1));
    }
  }
  // Very many ask at this moment: nothing is granted that is not written down.
  return 0;
}

/** A document that cannot be read is one without leases: at worst they are granted twice for half a minute. */
function readLeases(body: Buffer): Lease[] {
  try {
    const { leases } = JSON.parse(body.toString('utf8')) as { leases?: unknown };
    return Array.isArray(leases) ? leases.filter(isLease) : [];
  } catch {
    return [];
  }
}

function isLease(value: unknown): value is Lease {
  const { holder, wanted, granted, until } = (value ?? {}) as Record<string, unknown>;
  return typeof holder === 'string' && [wanted, granted, until].every((each) => typeof each === 'number');
}
