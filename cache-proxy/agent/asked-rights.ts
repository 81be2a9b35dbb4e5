import { createHmac, randomBytes } from 'node:crypto';
import { createBoundedCache } from '../../core/bounded-cache.ts';
import { inHurry } from '../fetch/in-hurry.ts';
import type { AccessRequest } from './gate.ts';
import { manifestTypes } from './manifest-types.ts';
import { type OriginClient, type OriginState, OriginUnavailable } from './origin-client.ts';

/** What the origin says to the very request with the client's own credential. */
export type AskedRight = 'allowed' | 'unauthenticated' | 'denied' | 'unknown';

/** For credentials that only the origin can judge: passwords, tokens that say nothing to us, and none at all. */
export interface AskedRights {
  /**
   * May it be pulled? A yes holds for the repository, for ten seconds; while the line crawls for twice as long, with the next question under way. `onLate` is
   * told what came of that, for nobody waits for it. Errors: OriginUnavailable.
   */
  ask(request: AccessRequest, onLate?: (right: AskedRight) => void): Promise<AskedRight>;
  /** Is the credential good for anything? Errors: OriginUnavailable. */
  greet(authorization: string, client?: string): Promise<AskedRight>;
}

export interface AskedRightsDeps {
  readonly client: OriginClient;
  readonly state: OriginState;
  readonly now?: () => number;
}

const yesMs = 10_000;
/** Counted from the question, whatever becomes of the next one: a right that was taken back is gone within twenty seconds, also over a line that crawls. */
const slowYesMs = 20_000;
const noMs = 2_000;
/** A job with an old password that tries again and again must not use up what the origin lets the pool's address get wrong. */
export const wrongMs = 10_000;

export function createAskedRights({ client, state, now = Date.now }: AskedRightsDeps): AskedRights {
  const secret = randomBytes(32);
  const answers = createBoundedCache<string, { right: AskedRight; until: number; slowUntil: number }>(20_000);
  const asking = new Map<string, Promise<AskedRight>>();
  const hash = (authorization: string | undefined, place: string): string =>
    createHmac('sha256', secret)
      .update(JSON.stringify([authorization ?? '', place]))
      .digest('base64');

  const once = async (
    keys: { readonly repository: string; readonly request: string },
    ask: () => Promise<AskedRight>,
    onLate?: (right: AskedRight) => void,
  ): Promise<AskedRight> => {
    for (const key of [keys.repository, keys.request]) {
      const known = answers.get(key);
      if (known !== undefined && known.until > now()) return known.right;
    }
    const before = answers.get(keys.repository);
    const started = start(keys, ask);
    const { hurry } = state;
    if (hurry === undefined || before === undefined || before.slowUntil <= now()) return started;
    const right = await inHurry(started, hurry);
    if (right !== undefined) return right;
    if (onLate !== undefined) void started.then(onLate, () => {});
    return before.right;
  };

  const start = (
    keys: { readonly repository: string; readonly request: string },
    ask: () => Promise<AskedRight>,
  ): Promise<AskedRight> => {
    const running = asking.get(keys.request);
    if (running !== undefined) return running;
    const asked = now();
    const started = ask()
      .then((right) => {
        // What is not there is looked for again: it may be pushed any moment, and says nothing about who may see it.
        const keep = (key: string, ms: number, slowMs = ms): void =>
          void answers.set(key, { right, until: asked + ms, slowUntil: asked + slowMs });
        if (right === 'allowed') keep(keys.repository, yesMs, slowYesMs);
        else if (right === 'unauthenticated') keep(keys.repository, wrongMs);
        else if (right === 'denied') {
          answers.delete(keys.repository);
          keep(keys.request, noMs);
        }
        return right;
      })
      .finally(() => asking.delete(keys.request));
    asking.set(keys.request, started);
    return started;
  };

  return {
    ask(request, onLate) {
      const { authorization, repository, reference, kind } = request;
      const name = 'digest' in reference ? reference.digest : reference.tag;
      const target = `/v2/${repository}/${kind === 'blob' ? 'blobs' : 'manifests'}/${name}`;
      const keys = { repository: hash(authorization, repository), request: hash(authorization, target) };
      const look = async (): Promise<AskedRight> => {
        const headers = {
          ...headersOf(authorization, request.client),
          ...(kind === 'manifest' ? { accept: manifestTypes } : {}),
        };
        return rightOf((await client.ask({ method: 'HEAD', target, headers })).status);
      };
      return once(keys, look, onLate);
    },
    greet(authorization, address) {
      const key = hash(authorization, '/v2/');
      return once({ repository: key, request: key }, async () => {
        const headers = headersOf(authorization, address);
        return rightOf((await client.ask({ method: 'GET', target: '/v2/', headers })).status);
      });
    },
  };
}

/** The client's address lets an origin that trusts the pool slow down whoever guesses, instead of the whole pool. */
export function headersOf(
  authorization: string | undefined,
  client: string | undefined,
): Record<string, string> {
  return {
    ...(authorization === undefined ? {} : { authorization }),
    ...(client === undefined ? {} : { 'x-forwarded-for': client }),
  };
}

function rightOf(status: number): AskedRight {
  if (status === 200 || status === 302 || status === 307) return 'allowed';
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'denied';
  if (status === 404) return 'unknown';
  throw new OriginUnavailable(`the origin answered ${status} where it should allow or refuse`);
}
