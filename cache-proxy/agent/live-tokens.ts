import { LRUCache } from 'lru-cache';
import { isObject } from '../../oci/client/answers.ts';
import type { Scope } from '../../oci/scope.ts';
import type { EngineLog } from '../pool-engine.ts';
import { type OriginClient, type OriginState, OriginUnavailable } from './origin-client.ts';
import type { CheckedToken } from './token-checker.ts';

/**
 * The tokens that clients use, and which of them the origin has taken back. Those in use are asked about every ten seconds in one request; a token that was
 * not asked about for longer is asked about before it counts. While the origin is away a token counts for as long as it says.
 */
export interface LiveTokens {
  /** Errors: OriginUnavailable: nobody knows the token's key. */
  check(token: string): Promise<TokenState>;
  /** The origin has just issued it: it need not be asked. */
  issued(token: string): Promise<CheckedToken>;
  /** Whether the origin is known to have taken it back; asks nobody. */
  isVoid(token: string): boolean;
  close(): void;
}

export type TokenState =
  | {
      readonly kind: 'good';
      readonly named: boolean;
      readonly access: readonly Scope[];
      /** False: the origin has no such API; what it grants may have been taken back. */
      readonly confirmed: boolean;
    }
  | { readonly kind: 'bad' }
  | { readonly kind: 'opaque' };

export interface LiveTokensDeps {
  readonly client: OriginClient;
  readonly state: OriginState;
  readonly read: (token: string) => Promise<CheckedToken>;
  readonly log: EngineLog;
  /** Told of each token that the origin has taken back. */
  readonly onVoid?: (token: string) => void;
  readonly now?: () => number;
  /** Milliseconds between two questions. Default 10,000. */
  readonly pollEvery?: number;
}

interface Entry {
  readonly token: string;
  readonly read: Extract<CheckedToken, { kind: 'good' }>;
  confirmedAt: number;
  usedAt: number;
  void: boolean;
}

/** With ten seconds in which nginx keeps an answer, thirty at most pass until a right that was taken back is gone. */
const confirmedMs = 15_000;
/** A pull goes on asking; what was not used for so long is asked about when it comes again. */
const inUseMs = 60_000;
const batch = 100;
/** An origin that knows no such question is asked for it seldom. */
const withoutApiMs = 300_000;
/** After the origin is back, clients fetch tokens of its own for those that the pool gave them. */
const localGraceMs = 20_000;

export function createLiveTokens(deps: LiveTokensDeps): LiveTokens {
  const { client, state, read, log, onVoid, now = Date.now, pollEvery = 10_000 } = deps;
  // By size: 8 MiB whatever clients send.
  const entries = new LRUCache<string, Entry>({
    maxSize: 8 * 1024 * 1024,
    sizeCalculation: (_entry, token) => token.length * 2 + 1024,
  });
  const reading = new Map<string, Promise<CheckedToken>>();
  const confirming = new Map<Entry, Promise<boolean>>();
  let withoutApiUntil = 0;
  let awayAt = Number.NEGATIVE_INFINITY;

  const readOnce = (token: string): Promise<CheckedToken> => {
    const running = reading.get(token);
    if (running !== undefined) return running;
    const started = read(token).finally(() => reading.delete(token));
    reading.set(token, started);
    return started;
  };

  const find = async (token: string): Promise<Entry | 'bad' | 'opaque'> => {
    const known = entries.get(token);
    if (known !== undefined) return known;
    const checked = await readOnce(token);
    if (checked.kind !== 'good') return checked.kind;
    const entry = { token, read: checked, confirmedAt: Number.NEGATIVE_INFINITY, usedAt: now(), void: false };
    // Whoever waited for the same reading made it already.
    const other = entries.peek(token);
    if (other === undefined) entries.set(token, entry);
    return other ?? entry;
  };

  /** False: the origin has no such API. Errors: OriginUnavailable. */
  const ask = async (asked: readonly Entry[]): Promise<boolean> => {
    if (now() < withoutApiUntil) return false;
    const since = now();
    const answer = await client.askAsPool(
      {
        method: 'POST',
        target: '/api/v1/pools/void-tokens',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: Buffer.from(JSON.stringify({ tokens: asked.map(({ token }) => token) })),
      },
      '',
    );
    const places = answer.status === 200 ? readPlaces(answer.body, asked.length) : undefined;
    if (places === undefined) {
      if (answer.status === 401 || answer.status === 403) {
        const { status } = answer;
        log.warn(
          { status },
          "the origin does not tell this pool's account which tokens are void: name it in registry.pools.accounts there",
        );
      }
      withoutApiUntil = now() + withoutApiMs;
      return false;
    }
    for (const entry of asked) entry.confirmedAt = since;
    for (const place of places) {
      const entry = asked[place];
      if (entry === undefined || entry.void) continue;
      entry.void = true;
      onVoid?.(entry.token);
    }
    return true;
  };

  const confirm = (entry: Entry): Promise<boolean> => {
    const running = confirming.get(entry);
    if (running !== undefined) return running;
    const started = ask([entry]).finally(() => confirming.delete(entry));
    confirming.set(entry, started);
    return started;
  };

  const poll = async (): Promise<void> => {
    const used: Entry[] = [];
    for (const entry of entries.values()) {
      if (entry.read.local || entry.void || entry.read.expires < now()) continue;
      if (now() - entry.usedAt < inUseMs) used.push(entry);
    }
    for (let start = 0; start < used.length; start += batch) {
      if (!(await ask(used.slice(start, start + batch)))) return;
    }
  };
  let polling = false;
  const timer = setInterval(() => {
    if (polling || state.away) return;
    polling = true;
    poll()
      .catch((error: unknown) => {
        if (!(error instanceof OriginUnavailable))
          log.warn({ err: error }, 'void tokens could not be asked for');
      })
      .finally(() => {
        polling = false;
      });
  }, pollEvery);
  timer.unref();

  const localCounts = ({ issuedAt }: { readonly issuedAt: number }): boolean => {
    if (state.away) awayAt = now();
    return now() - Math.max(awayAt, issuedAt) <= localGraceMs;
  };

  return {
    async check(token) {
      const entry = await find(token);
      if (entry === 'bad' || entry === 'opaque') return { kind: entry };
      const { read: claims } = entry;
      entry.usedAt = now();
      if (entry.void || claims.expires <= now()) return { kind: 'bad' };
      const { named, access } = claims;
      if (claims.local) {
        return localCounts(claims) ? { kind: 'good', named, access, confirmed: true } : { kind: 'bad' };
      }
      if (now() - entry.confirmedAt <= confirmedMs) return { kind: 'good', named, access, confirmed: true };
      let confirmed: boolean;
      try {
        confirmed = await confirm(entry);
      } catch (error) {
        if (!(error instanceof OriginUnavailable)) throw error;
        // While the origin is away a token says itself how long it counts. One that only keeps silent about this is asked otherwise.
        confirmed = !error.answersOthers;
      }
      return entry.void ? { kind: 'bad' } : { kind: 'good', named, access, confirmed };
    },
    async issued(token) {
      const entry = await find(token);
      if (entry === 'bad' || entry === 'opaque') return { kind: entry };
      entry.confirmedAt = now();
      return entry.read;
    },
    isVoid: (token) => entries.peek(token)?.void === true,
    close: () => clearInterval(timer),
  };
}

/** Undefined for anything but places in the list that was asked about. */
function readPlaces(body: Buffer, length: number): number[] | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    const places: unknown = isObject(value) ? value['void'] : undefined;
    if (!Array.isArray(places)) return undefined;
    const fits = places.every((place) => Number.isInteger(place) && place >= 0 && place < length);
    return fits ? (places as number[]) : undefined;
  } catch {
    return undefined;
  }
}
