import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { Static } from 'typebox';
import { errorSchema, problem } from '../../core/http/api-answers.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { Type } from '../../core/type.ts';
import { createPopularity, type ImageCount } from '../popularity/popularity.ts';
import { addSnapshot, maxSnapshotBytes, parseSnapshot, SnapshotInvalid } from '../popularity/snapshot.ts';
import { identifyPool, type PoolCallerDeps } from './pool-caller.ts';
import { poolNameSchema } from './pool-name.ts';
import { popularityKey, popularityPrefix } from './store-keys.ts';

/** Images of an answer: it fits into 1 MiB. */
const maxAnswered = 3000;
/** The sum over all pools is made anew so often at most. Milliseconds. */
const sumMs = 300_000;
/** What pools said so long ago says nothing. Milliseconds. */
const oldestMs = 60 * 86_400_000;
/** Counts in answers are as of the answer, with this half-life. Milliseconds. */
const halfLife = 3 * 86_400_000;

const imageSchema = Type.Object({
  ns: Type.Optional(Type.String()),
  repository: Type.String(),
  digest: Type.String(),
  count: Type.Number(),
});
const answerSchema = Type.Object({
  version: Type.Literal(1),
  time: Type.Number({ description: 'Milliseconds since 1970: the counts are as of then.' }),
  halfLife: Type.Number({ description: 'Milliseconds.' }),
  pools: Type.Integer({ description: 'How many other pools these counts are the sum of.' }),
  images: Type.Array(imageSchema),
});

type GlobalPopularity = Static<typeof answerSchema>;

export interface PopularityRoutesOptions extends PoolCallerDeps {
  readonly store: ObjectStore;
  readonly now?: () => number;
}

/**
 * `PUT` and `GET /api/v1/pools/<name>/popularity`: pools tell hourly what they pull, and a pool that is new learns what the others do, of the repositories
 * that it may pull itself. Snapshots in the object store, whole and rarely: counting happens in the pools, so nothing here needs Redis.
 */
export function createPopularityRoutes(options: PopularityRoutesOptions): FastifyPluginAsync {
  const { store, now = Date.now } = options;
  const sums = createSums(store, now);
  return async (app: FastifyInstance) => {
    const failures = { 400: errorSchema, 401: errorSchema, 403: errorSchema };
    app.put<{ Params: { name: string } }>(
      '/api/v1/pools/:name/popularity',
      {
        bodyLimit: maxSnapshotBytes,
        schema: {
          tags: ['pools'],
          summary: "A pool's most pulled images",
          params: poolNameSchema,
          response: { 200: Type.Object({ images: Type.Integer() }), ...failures },
        },
      },
      async (request, reply) => {
        const identity = await identifyPool(options, request, reply);
        if (identity === undefined) return reply;
        try {
          const snapshot = parseSnapshot(request.body, now());
          const key = popularityKey(identity.principal.name, request.params.name);
          await store.put(key, Buffer.from(JSON.stringify(snapshot)));
          return { images: snapshot.images.length };
        } catch (error) {
          if (!(error instanceof SnapshotInvalid)) throw error;
          return problem(reply, 400, 'SNAPSHOT_INVALID', error.message);
        }
      },
    );

    app.get<{ Params: { name: string } }>(
      '/api/v1/pools/:name/popularity',
      {
        schema: {
          tags: ['pools'],
          summary: 'What the other pools pull most',
          params: poolNameSchema,
          response: { 200: answerSchema, ...failures },
        },
      },
      async (request, reply): Promise<GlobalPopularity | typeof reply> => {
        void reply.header('Cache-Control', 'no-store');
        const identity = await identifyPool(options, request, reply);
        if (identity === undefined) return reply;
        const { principal, authorizer } = identity;
        const own = popularityKey(principal.name, request.params.name);
        const { pools, images } = await sums.without(own);
        // Another registry's images are no secret of ours, but what a company pulls there is told to its own pools only, which these are.
        const mine = images.filter(
          ({ ns, repository }) => ns !== undefined || authorizer.may(principal, 'pull', repository),
        );
        return { version: 1, time: now(), halfLife, pools, images: mine.slice(0, maxAnswered) };
      },
    );
  };
}

interface Sum {
  readonly pools: number;
  readonly images: readonly ImageCount[];
}

/** Sums over all snapshots but one; each kept for some minutes, and few of them. */
function createSums(store: ObjectStore, now: () => number) {
  const kept = new Map<string, { readonly time: number; readonly sum: Promise<Sum> }>();
  return {
    without(own: string): Promise<Sum> {
      const found = kept.get(own);
      if (found !== undefined && now() - found.time < sumMs) return found.sum;
      const sum = sumSnapshots(store, own, now());
      kept.delete(own);
      kept.set(own, { time: now(), sum });
      // A store that did not answer is asked again.
      sum.catch(() => kept.delete(own));
      const [oldest] = kept.keys();
      if (kept.size > 32 && oldest !== undefined) kept.delete(oldest);
      return sum;
    },
  };
}

/** Errors: ObjectStoreUnavailable. */
async function sumSnapshots(store: ObjectStore, own: string, time: number): Promise<Sum> {
  const popularity = createPopularity({ halfLife, max: 2 * maxAnswered });
  let pools = 0;
  for (let startAfter: string | undefined = ''; startAfter !== undefined; ) {
    const page: Awaited<ReturnType<ObjectStore['list']>> = await store.list({
      prefix: popularityPrefix,
      limit: 1000,
      ...(startAfter === '' ? {} : { startAfter }),
    });
    for (const { key } of page.objects) {
      if (key === own) continue;
      const stored = await store.get(key, { limit: maxSnapshotBytes });
      const snapshot = stored === undefined ? undefined : readSnapshot(stored.body, time);
      if (snapshot === undefined || time - snapshot.time > oldestMs) continue;
      addSnapshot(popularity, snapshot, halfLife);
      pools += 1;
    }
    startAfter = page.next;
  }
  return { pools, images: popularity.counts(time, 2 * maxAnswered).filter(({ count }) => count > 1e-6) };
}

/** What another version wrote is not understood, and its pool counts as one that said nothing. */
function readSnapshot(body: Buffer, time: number) {
  try {
    return parseSnapshot(JSON.parse(body.toString('utf8')), time);
  } catch {
    return undefined;
  }
}
