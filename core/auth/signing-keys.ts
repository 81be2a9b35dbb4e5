import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { type ObjectStore, PreconditionFailed } from '../object-store/object-store.ts';

/** Signature algorithms of tokens; Ed25519 is `EdDSA` in a JOSE header. */
export type SigningAlgorithm = 'EdDSA' | 'ES256';

export interface SigningKey {
  /** Names the key within this service. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  /** Public parts only, as published. */
  readonly publicJwk: JWK;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** The keys that all processes and replicas share through the store. */
export interface SigningKeys {
  /** The key to sign with. Errors: ObjectStoreUnavailable. */
  current(): Promise<SigningKey>;
  /** Undefined = none of our keys has this name. Errors: ObjectStoreUnavailable. */
  find(kid: string): Promise<SigningKey | undefined>;
  /** RFC 7517 key set, public parts only. */
  publicKeys(): Promise<{ keys: JWK[] }>;
  /** Adds a key; it signs once every process has had the time to read it, and older ones go on verifying. */
  rotate(): Promise<SigningKey>;
}

export interface SigningKeysOptions {
  readonly store: ObjectStore;
  /** Of keys made from now on; default EdDSA. */
  readonly algorithm?: SigningAlgorithm;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
}

const prefix = 'auth/keys/';
/** Milliseconds after which the keys are read again. */
const reread = 60_000;
/** A new key signs only when every process has read the keys since; twice the interval, as clocks differ. */
const settle = 2 * reread;
/** Unknown key names may make us look at most so often, as anybody can invent one. */
const searchEvery = 5_000;

/**
 * Keys lie at `auth/keys/<kid>`. The kid is a running number, so that creating one is a put that only one process can win:
 * all others then read the winner's key.
 */
export function createSigningKeys(options: SigningKeysOptions): SigningKeys {
  const { store, algorithm = 'EdDSA', now = Date.now } = options;
  let keys: readonly SigningKey[] = [];
  let lastKid = 0;
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  const read = (): Promise<void> => {
    reading ??= readKeys(store)
      .then((found) => {
        keys = found.keys;
        lastKid = found.lastKid;
        readAt = now();
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };

  const create = async (): Promise<SigningKey> => {
    // Ends: whoever loses the race reads a set that has grown.
    for (;;) {
      const kid = formatKid(lastKid + 1);
      const record = await newRecord(kid, algorithm, now());
      try {
        await store.put(prefix + kid, Buffer.from(JSON.stringify(record)), { ifNoneMatch: '*' });
        await read();
        return await toKey(record);
      } catch (error) {
        if (!(error instanceof PreconditionFailed)) throw error;
        await read();
        const winner = keys.find((key) => key.kid === kid);
        if (winner !== undefined) return winner;
      }
    }
  };

  const fresh = async (): Promise<void> => {
    if (now() - readAt >= reread) await read();
  };

  return {
    async current() {
      await fresh();
      const usable = keys.filter((key) => key.algorithm === algorithm);
      const settled = usable.filter((key) => now() - key.created >= settle);
      return settled.at(-1) ?? usable[0] ?? (await create());
    },
    async find(kid) {
      if (!isKid(kid)) return undefined;
      await fresh();
      const known = keys.find((key) => key.kid === kid);
      if (known !== undefined) return known;
      if (now() - readAt >= searchEvery) await read();
      return keys.find((key) => key.kid === kid);
    },
    async publicKeys() {
      await fresh();
      return { keys: keys.map((key) => key.publicJwk) };
    },
    async rotate() {
      await read();
      return create();
    },
  };
}

interface KeyRecord {
  readonly version: 1;
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly created: number;
  /** RFC 7517, with the private part. Never leaves the store and this file. */
  readonly jwk: JWK;
}

/** `lastKid` also counts objects that hold no key: their names are taken. */
async function readKeys(store: ObjectStore): Promise<{ keys: SigningKey[]; lastKid: number }> {
  // A thousand keys are a thousand rotations.
  const page = await store.list({ prefix, limit: 1000 });
  const read = await Promise.all(
    page.objects.map(async ({ key }) => {
      const object = await store.get(key, { limit: 4096 });
      const record = object === undefined ? undefined : parseRecord(object.body.toString(), key);
      return record === undefined ? undefined : toKey(record);
    }),
  );
  const taken = page.objects.map(({ key }) => key.slice(prefix.length)).filter(isKid);
  return {
    keys: read.filter((key) => key !== undefined),
    lastKid: Math.max(0, ...taken.map((kid) => Number(kid.slice(4)))),
  };
}

/** Undefined for what this version does not understand, so that one bad object does not lock everybody out. */
function parseRecord(text: string, key: string): KeyRecord | undefined {
  try {
    const record = JSON.parse(text) as KeyRecord;
    const { alg, kty, crv, d } = record.jwk;
    const shape = record.algorithm === 'EdDSA' ? 'OKP Ed25519' : 'EC P-256';
    const sound =
      record.version === 1 &&
      prefix + record.kid === key &&
      isKid(record.kid) &&
      (record.algorithm === 'EdDSA' || record.algorithm === 'ES256') &&
      `${kty} ${crv}` === shape &&
      alg === record.algorithm &&
      typeof d === 'string' &&
      Number.isFinite(record.created);
    return sound ? record : undefined;
  } catch {
    return undefined;
  }
}

async function newRecord(kid: string, algorithm: SigningAlgorithm, created: number): Promise<KeyRecord> {
  const pair = await generateKeyPair(algorithm, {
    extractable: true,
    ...(algorithm === 'EdDSA' ? { crv: 'Ed25519' } : {}),
  });
  const jwk = await exportJWK(pair.privateKey);
  return { version: 1, kid, algorithm, created, jwk: { ...jwk, kid, alg: algorithm, use: 'sig' } };
}

async function toKey(record: KeyRecord): Promise<SigningKey> {
  const { d: _private, ...publicJwk } = record.jwk;
  const [privateKey, publicKey] = await Promise.all([
    importJWK(record.jwk, record.algorithm, { extractable: false }),
    importJWK(publicJwk, record.algorithm),
  ]);
  return {
    kid: record.kid,
    algorithm: record.algorithm,
    privateKey: privateKey as CryptoKey,
    publicKey: publicKey as CryptoKey,
    publicJwk,
    created: record.created,
  };
}

function isKid(text: string): boolean {
  return /^key-\d{6}$/.test(text);
}

function formatKid(number: number): string {
  return `key-${String(number).padStart(6, '0')}`;
}
