import { importJWK, type JWK } from 'jose';
import { isObject } from '../../oci/client/answers.ts';
import { parseChallenge } from '../../oci/client/token.ts';
import type { EngineLog } from '../pool-engine.ts';
import { type OriginClient, OriginUnavailable } from './origin-client.ts';
import type { PrivateFile } from './private-file.ts';

/** How the origin wants to be told who asks. */
export type OriginChallenge =
  /** `realm`: a path of the origin itself, or the address of a token service elsewhere. */
  | { readonly scheme: 'bearer'; readonly service: string; readonly realm: string | URL }
  | { readonly scheme: 'basic'; readonly header: string }
  /** It answers everybody, or says only later whom it refuses. */
  | { readonly scheme: 'none' };

export interface OriginKey {
  readonly algorithm: string;
  readonly key: CryptoKey;
}

/** What the origin says about itself, kept on disk: a pool that starts while the origin is away goes on where it was. */
export interface OriginProfile {
  /** Errors: OriginUnavailable: nobody was ever told. */
  challenge(): Promise<OriginChallenge>;
  /** Its public key of that name; `opaque`: it publishes no keys, so only it can read its tokens. Errors: OriginUnavailable. */
  findKey(kid: string): Promise<OriginKey | undefined | 'opaque'>;
}

export interface OriginProfileDeps {
  readonly client: OriginClient;
  readonly file: PrivateFile;
  readonly log: EngineLog;
  readonly now?: () => number;
}

interface Stored {
  /** Value of WWW-Authenticate; undefined: none is sent. */
  readonly challenge?: string;
  /** Undefined: none are published. */
  readonly keys?: readonly JWK[];
}

interface Known {
  readonly challenge: OriginChallenge;
  readonly keys: ReadonlyMap<string, OriginKey> | undefined;
}

/** Milliseconds after which it is asked again, while the former answer goes on to count. */
const rereadMs = 60_000;
/** Anybody can invent a key's name. */
const searchMs = 5_000;
/** What verifies is no secret; a token can choose neither the key nor another algorithm for it (RFC 8725 section 3.1). */
const algorithms = new Set(['EdDSA', 'ES256', 'ES384', 'RS256', 'RS384', 'PS256']);

export function createOriginProfile({ client, file, log, now = Date.now }: OriginProfileDeps): OriginProfile {
  let known: Promise<Known> | undefined = remembered();
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<Known> | undefined;

  function remembered(): Promise<Known> | undefined {
    try {
      const text = file.read();
      if (text === undefined) return undefined;
      return understand(JSON.parse(text) as Stored, client.urls);
    } catch (error) {
      log.warn({ err: error }, 'what was known of the origin cannot be read; it is asked again');
      return undefined;
    }
  }

  const refresh = (): Promise<Known> => {
    asking ??= look().finally(() => {
      asking = undefined;
    });
    return asking;
  };

  async function look(): Promise<Known> {
    askedAt = now();
    const [ping, published] = await Promise.all([
      client.ask({ method: 'GET', target: '/v2/' }),
      client.ask({ method: 'GET', target: '/.well-known/jwks.json' }),
    ]);
    const challenge = ping.headers['www-authenticate'];
    if (ping.status !== 200 && (ping.status !== 401 || challenge === undefined)) {
      throw new OriginUnavailable(`the origin answered /v2/ with ${ping.status}, as no registry does`);
    }
    const keys = published.status === 200 ? readKeys(published.body) : undefined;
    const stored: Stored = {
      ...(ping.status === 401 && challenge !== undefined ? { challenge } : {}),
      ...(keys === undefined ? {} : { keys }),
    };
    const next = await understand(stored, client.urls);
    known = Promise.resolve(next);
    try {
      const text = `${JSON.stringify(stored)}\n`;
      if (file.read() !== text) file.write(text);
    } catch (error) {
      log.warn({ err: error }, 'what is known of the origin cannot be kept for the next start');
    }
    return next;
  }

  const current = async (): Promise<Known> => {
    if (known === undefined) return refresh();
    if (now() - askedAt >= rereadMs) refresh().catch(() => {});
    return known;
  };

  return {
    challenge: async () => (await current()).challenge,
    async findKey(kid) {
      const { keys } = await current();
      if (keys === undefined) return 'opaque';
      const found = keys.get(kid);
      if (found !== undefined || now() - askedAt < searchMs) return found;
      const { keys: again } = await refresh();
      return again === undefined ? 'opaque' : again.get(kid);
    },
  };
}

async function understand({ challenge, keys }: Stored, urls: readonly URL[]): Promise<Known> {
  return {
    challenge: readChallenge(challenge, urls, keys !== undefined),
    keys: keys === undefined ? undefined : await importKeys(keys),
  };
}

/**
 * A registry that publishes keys is its own token service, whatever name it has outside: then it is asked where we reach it. Others name one elsewhere, which
 * may see passwords only over TLS unless the registry itself is plain.
 */
function readChallenge(
  header: string | undefined,
  urls: readonly URL[],
  ownTokens: boolean,
): OriginChallenge {
  const parsed = parseChallenge(header);
  if (header === undefined || parsed === undefined) return { scheme: 'none' };
  if (parsed.scheme !== 'bearer') return { scheme: 'basic', header };
  const { realm = '', service = '' } = parsed.parameters;
  const [first] = urls;
  if (first === undefined || !URL.canParse(realm, first)) return { scheme: 'none' };
  const address = new URL(realm, first);
  if (ownTokens || urls.some(({ host }) => host === address.host)) {
    return { scheme: 'bearer', service, realm: address.pathname + address.search };
  }
  const safe = address.protocol === 'https:' || (address.protocol === 'http:' && first.protocol === 'http:');
  return safe ? { scheme: 'bearer', service, realm: address } : { scheme: 'none' };
}

function readKeys(body: Buffer): JWK[] | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    if (!isObject(value) || !Array.isArray(value['keys'])) return undefined;
    return value['keys'].filter(isObject).slice(0, 100) as JWK[];
  } catch {
    return undefined;
  }
}

async function importKeys(keys: readonly JWK[]): Promise<Map<string, OriginKey>> {
  const found = new Map<string, OriginKey>();
  for (const jwk of keys) {
    const { kid, alg } = jwk;
    if (typeof kid !== 'string' || typeof alg !== 'string' || !algorithms.has(alg)) continue;
    try {
      const key = await importJWK(jwk, alg, { extractable: false });
      if (!(key instanceof Uint8Array)) found.set(kid, { algorithm: alg, key: key as CryptoKey });
    } catch {
      // One key that this Node cannot read must not make the others useless.
    }
  }
  return found;
}
