import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import { KeyMissing, type Keyring, SealBroken, type SealedValue } from './keyring.ts';
import { isSecretName, maxSecretBytes, maxSecrets, minSecretBytes } from './secret-names.ts';

/** Values that the commands of one application need and nobody may read; `owner` is the git repository, `team/app`. */
export interface SecretStore {
  /** Puts it in place of the one before. Errors: SecretRefused (no key is configured, the value or the name cannot be). */
  set(owner: string, name: string, value: Uint8Array, by: string): Promise<SecretInfo>;
  /** By name. */
  list(owner: string): Promise<readonly SecretInfo[]>;
  /** False = there is none. */
  remove(owner: string, name: string): Promise<boolean>;
  /**
   * Values for a build, of those names that there are. One that an older key encrypted is encrypted anew with the newest.
   * Errors: SecretsLocked (no key, or not the right one; changed in the store).
   */
  open(owner: string, names: readonly string[]): Promise<ReadonlyMap<string, Buffer>>;
  /**
   * Changes with the value, is equal for equal values, and needs no key: part of what names the result of a build. Names without a secret are left out.
   */
  versions(owner: string, names: readonly string[]): Promise<Readonly<Record<string, string>>>;
}

export interface SecretInfo {
  readonly name: string;
  readonly setAt: Date;
  readonly setBy: string;
  /** `current`; `old`: encrypted with a key that is not the first one; `missing`: with one that is not configured, so it has to be set again. */
  readonly key: 'current' | 'old' | 'missing';
}

/** The person who sets a secret can mend it. */
export class SecretRefused extends Error {
  override readonly name = 'SecretRefused';
}

/** There are secrets, and this server cannot read them. */
export class SecretsLocked extends Error {
  override readonly name = 'SecretsLocked';
}

export const noKeyHint =
  'set builder.secrets.key (or BRICKYARD_BUILDER_SECRETS_KEY_FILE, a file that "openssl rand -base64 32" made), the same on every server';

/** One object each, `secrets/<team>/<app>/<name>`. */
interface StoredSecret {
  readonly version: 1;
  readonly sealed: SealedValue;
  readonly setAt: string;
  readonly setBy: string;
  readonly revision: string;
}

/** `keyring` undefined: secrets can be listed and removed, and nothing else. */
export function createSecretStore({
  store,
  keyring,
}: {
  readonly store: ObjectStore;
  readonly keyring?: Keyring | undefined;
}): SecretStore {
  const prefixOf = (owner: string): string => `secrets/${owner}/`;

  async function read(
    owner: string,
    name: string,
  ): Promise<{ secret: StoredSecret; etag: string } | undefined> {
    if (!isSecretName(name)) return undefined;
    const object = await store.get(prefixOf(owner) + name);
    if (object === undefined) return undefined;
    const secret = JSON.parse(object.body.toString('utf8')) as StoredSecret;
    if (secret.version !== 1) throw new Error(`the secret ${owner} ${name} is of another version`);
    return { secret, etag: object.etag };
  }

  function unlock(owner: string, name: string, secret: StoredSecret): Buffer {
    if (keyring === undefined) {
      throw new SecretsLocked(`the secret "${name}" cannot be read, as this server has no key: ${noKeyHint}`);
    }
    try {
      return keyring.open(secret.sealed, contextOf(owner, name, secret));
    } catch (cause) {
      if (cause instanceof KeyMissing) {
        const hint = 'put that key behind the first one in builder.secrets.key, or set the secret again';
        throw new SecretsLocked(
          `the secret "${name}" cannot be read, as the key it was encrypted with is not configured: ${hint}`,
          { cause },
        );
      }
      if (!(cause instanceof SealBroken)) throw cause;
      throw new SecretsLocked(
        `the secret "${name}" cannot be read, as it was changed in the store: set it again`,
        {
          cause,
        },
      );
    }
  }

  /** What the next start with fewer keys needs; a build goes on without it. */
  async function renew(
    ring: Keyring,
    { owner, name, secret, etag, value }: Located & { secret: StoredSecret; etag: string; value: Buffer },
  ): Promise<void> {
    const renewed = { ...secret, sealed: ring.seal(value, contextOf(owner, name, secret)) };
    try {
      await store.put(prefixOf(owner) + name, toBody(renewed), { ifMatch: etag });
    } catch (error) {
      // Somebody has set or removed it meanwhile, and theirs counts.
      if (!(error instanceof PreconditionFailed)) throw error;
    }
  }

  function infoOf(name: string, secret: StoredSecret): SecretInfo {
    const { key } = secret.sealed;
    const known = keyring?.current === key ? 'current' : keyring?.has(key) === true ? 'old' : 'missing';
    return { name, setAt: new Date(secret.setAt), setBy: secret.setBy, key: known };
  }

  async function names(owner: string): Promise<string[]> {
    const { objects } = await store.list({ prefix: prefixOf(owner) });
    return objects.map(({ key }) => key.slice(prefixOf(owner).length)).filter(isSecretName);
  }

  return {
    async set(owner, name, value, by) {
      if (keyring === undefined) {
        throw new SecretRefused(`this server has no key to encrypt secrets with: ${noKeyHint}`);
      }
      const fault = faultOf(name, value);
      if (fault !== undefined) throw new SecretRefused(fault);
      const present = await names(owner);
      if (!present.includes(name) && present.length >= maxSecrets) {
        throw new SecretRefused(`${owner} has ${maxSecrets} secrets, which is the most it may have`);
      }
      const revision = keyring.fingerprint(value, JSON.stringify([owner, name]));
      const about = { setAt: new Date().toISOString(), setBy: by, revision };
      const secret: StoredSecret = {
        version: 1,
        ...about,
        sealed: keyring.seal(value, contextOf(owner, name, about)),
      };
      await store.put(prefixOf(owner) + name, toBody(secret));
      return infoOf(name, secret);
    },
    async list(owner) {
      const found = await Promise.all(
        (await names(owner)).map(async (name) => {
          const stored = await read(owner, name);
          return stored === undefined ? [] : [infoOf(name, stored.secret)];
        }),
      );
      return found.flat();
    },
    async remove(owner, name) {
      if ((await read(owner, name)) === undefined) return false;
      await store.delete(prefixOf(owner) + name);
      return true;
    },
    async open(owner, wanted) {
      const values = new Map<string, Buffer>();
      for (const name of new Set(wanted)) {
        const stored = await read(owner, name);
        if (stored === undefined) continue;
        const value = unlock(owner, name, stored.secret);
        values.set(name, value);
        if (keyring !== undefined && stored.secret.sealed.key !== keyring.current) {
          await renew(keyring, { owner, name, value, ...stored });
        }
      }
      return values;
    },
    async versions(owner, wanted) {
      const found: Record<string, string> = {};
      for (const name of [...new Set(wanted)].sort()) {
        const stored = await read(owner, name);
        if (stored !== undefined) found[name] = stored.secret.revision;
      }
      return found;
    },
  };
}

interface Located {
  readonly owner: string;
  readonly name: string;
}

/** Binds a value to its place and its story, so that neither can be exchanged by who can write to the store. */
function contextOf(
  owner: string,
  name: string,
  { setAt, setBy, revision }: Pick<StoredSecret, 'setAt' | 'setBy' | 'revision'>,
): string {
  return JSON.stringify(['brickyard secret 1', owner, name, setAt, setBy, revision]);
}

function toBody(secret: StoredSecret): Buffer {
  return Buffer.from(JSON.stringify(secret));
}

function faultOf(name: string, value: Uint8Array): string | undefined {
  if (!isSecretName(name)) {
    return `"${name}" is no name of a secret: 1 to 63 letters, digits, ".", "_" and "-", the first a letter or digit`;
  }
  if (value.length < minSecretBytes) {
    return `a secret has at least ${minSecretBytes} bytes: a shorter one could not be told from other text in a log`;
  }
  if (value.length > maxSecretBytes) return `a secret has at most ${maxSecretBytes} bytes`;
  if (Buffer.from(value).toString('latin1').trim().length < minSecretBytes) return 'the secret is blank';
  return undefined;
}
