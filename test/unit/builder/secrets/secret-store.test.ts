import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createKeyring } from '../../../../builder/secrets/keyring.ts';
import {
  createSecretStore,
  SecretRefused,
  type SecretStore,
  SecretsLocked,
} from '../../../../builder/secrets/secret-store.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const key = (): string => randomBytes(32).toString('base64');
const token = Buffer.from('npm_0123456789');

function over(store = createMemoryStore(), keys: string | undefined = key()) {
  return { store, secrets: createSecretStore({ store, keyring: createKeyring(keys) }) };
}

describe('secrets of an application', () => {
  it('are set, listed without their values, opened for a build and removed', async () => {
    const { secrets } = over();
    await secrets.set('team/app', 'npm', token, 'alice');

    expect(await secrets.list('team/app')).toEqual([
      { name: 'npm', setAt: expect.any(Date) as Date, setBy: 'alice', key: 'current' },
    ]);
    expect(await secrets.open('team/app', ['npm', 'other'])).toEqual(new Map([['npm', token]]));
    expect(await secrets.remove('team/app', 'npm')).toBe(true);
    expect(await secrets.remove('team/app', 'npm')).toBe(false);
    expect(await secrets.open('team/app', ['npm'])).toEqual(new Map());
  });

  it('are those of no other application', async () => {
    const { secrets } = over();
    await secrets.set('team/app', 'npm', token, 'alice');

    expect(await secrets.list('team/ap')).toEqual([]);
    expect(await secrets.open('team/other', ['npm'])).toEqual(new Map());
  });

  it('stand in the store as nobody can read them, under their own name only', async () => {
    const { store, secrets } = over();
    await secrets.set('team/app', 'npm', token, 'alice');
    const object = await store.get('secrets/team/app/npm');
    const text = object?.body.toString() ?? '';

    for (const form of [token.toString(), token.toString('base64'), token.toString('hex')])
      expect(text).not.toContain(form);

    // Row 22: whoever can write to the store cannot hand a secret to another application.
    await store.put('secrets/team/evil/npm', object?.body ?? Buffer.alloc(0));
    await expect(secrets.open('team/evil', ['npm'])).rejects.toThrow(SecretsLocked);
    await store.put('secrets/team/app/npm', Buffer.from(text.replace('alice', 'mallo')));
    await expect(secrets.open('team/app', ['npm'])).rejects.toThrow('was changed in the store');
  });

  it.each([
    ['../x', token, 'is no name of a secret'],
    ['a b', token, 'is no name of a secret'],
    ['', token, 'is no name of a secret'],
    ['x', Buffer.from('short'), 'at least 8 bytes'],
    ['x', Buffer.from('        \n'), 'is blank'],
    ['x', Buffer.alloc(64 * 1024 + 1, 'x'), 'at most 65536 bytes'],
  ])('%j with such a value is refused', async (name, value, message) => {
    const { secrets } = over();

    await expect(secrets.set('team/app', name, value, 'alice')).rejects.toThrow(message);
  });

  it('are a hundred at most', async () => {
    const { secrets } = over();
    for (let number = 0; number < 100; number++) await secrets.set('team/app', `s${number}`, token, 'alice');

    await expect(secrets.set('team/app', 's100', token, 'alice')).rejects.toThrow('100 secrets');
    await secrets.set('team/app', 's99', token, 'alice');
  });
});

describe('without its key', () => {
  it('nothing is set, and the reason says what to do', async () => {
    const secrets = createSecretStore({ store: createMemoryStore() });

    const refused = secrets.set('team/app', 'npm', token, 'alice');

    await expect(refused).rejects.toThrow(SecretRefused);
    await expect(refused).rejects.toThrow('openssl rand -base64 32');
  });

  it('what is there is listed and removed, and not opened', async () => {
    const { store, secrets } = over();
    await secrets.set('team/app', 'npm', token, 'alice');
    const without = createSecretStore({ store });
    const { secrets: other } = over(store);

    expect(await without.list('team/app')).toMatchObject([{ name: 'npm', key: 'missing' }]);
    await expect(without.open('team/app', ['npm'])).rejects.toThrow('has no key');
    await expect(other.open('team/app', ['npm'])).rejects.toThrow('set the secret again');
    expect(await without.remove('team/app', 'npm')).toBe(true);
  });
});

it('a new key takes over what an old one encrypted when a build uses it, and its version stays', async () => {
  const [first, second] = [key(), key()];
  const { store, secrets } = over(createMemoryStore(), first);
  await secrets.set('team/app', 'npm', token, 'alice');
  const { secrets: both } = over(store, `${second} ${first}`);
  expect(await both.list('team/app')).toMatchObject([{ key: 'old', setBy: 'alice' }]);

  await both.open('team/app', ['npm']);

  const { secrets: alone } = over(store, second);
  expect(await alone.list('team/app')).toMatchObject([{ key: 'current', setBy: 'alice' }]);
  expect(await alone.open('team/app', ['npm'])).toEqual(new Map([['npm', token]]));
  expect(await versions(alone)).toEqual(await versions(both));
});

it('row 23: a version is another for another value, and tells nothing of it', async () => {
  const { secrets } = over();
  await secrets.set('team/app', 'npm', token, 'alice');
  const before = await versions(secrets);
  await secrets.set('team/app', 'npm', Buffer.from('npm_rotated'), 'alice');
  const rotated = await versions(secrets);
  await secrets.set('team/app', 'npm', token, 'bob');

  expect(rotated).not.toEqual(before);
  expect(await versions(secrets)).toEqual(before);
  expect(before).toEqual({ npm: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
});

function versions(secrets: SecretStore): Promise<Readonly<Record<string, string>>> {
  return secrets.versions('team/app', ['npm', 'none']);
}
