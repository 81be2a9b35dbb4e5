import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../../core/config/load-config.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const schema = Type.Object({
  key: Type.Optional(Type.String({ minLength: 3, 'x-secret': true })),
  limits: Type.Object({
    maxSizeMb: Type.Integer({ default: 5 }),
    names: Type.Array(Type.String(), { default: [] }),
  }),
});

let folder: TempDirectory;
beforeAll(async () => {
  folder = await createTempDirectory('load-config');
});
afterAll(() => folder.remove());

const load = (env: Record<string, string>) => loadConfig({ schema, env, prefix: 'T_' });

describe('loadConfig', () => {
  it('camel case and nesting become underscores', () => {
    expect(load({ T_LIMITS_MAX_SIZE_MB: '7', T_LIMITS_NAMES: 'a, b,,c' }).limits).toEqual({
      maxSizeMb: 7,
      names: ['a', 'b', 'c'],
    });
  });

  it('a secret may lie in a file, without the line end of it', async () => {
    const file = join(folder.path, 'secret');
    await writeFile(file, 'hidden value\n');

    expect(load({ T_KEY_FILE: file }).key).toBe('hidden value');
    expect(() => load({ T_KEY_FILE: file, T_KEY: 'abc' })).toThrow(/either T_KEY or T_KEY_FILE/);
    expect(() => load({ T_KEY_FILE: join(folder.path, 'none') })).toThrow(/T_KEY_FILE: cannot read/);
  });

  it('only secrets have a _FILE form', () => {
    expect(() => load({ T_LIMITS_NAMES_FILE: 'x' })).toThrow(/no setting has this name/);
  });

  it('a fault does not show the value of a secret', async () => {
    const file = join(folder.path, 'short');
    await writeFile(file, 'zq');

    expect(() => load({ T_KEY_FILE: file })).toThrow(/T_KEY_FILE: must have at least 3 characters$/);
  });

  it.each(['key: zq', 'key: "zq" # zq', 'limits: {maxSizeMb: x}\nkey: zq', '{key: zq, nothing: 1}'])(
    'the line of a fault does not show the secret in it: %s',
    async (text) => {
      const path = join(folder.path, 'secret.yaml');
      await writeFile(path, text);

      const loading = () => loadConfig({ schema, env: {}, prefix: 'T_', file: { path, required: true } });

      expect(loading).toThrow(/secret\.yaml:\d+:\d+ /);
      expect(loading).not.toThrow(/zq/);
    },
  );

  it('other variables and other prefixes are not looked at', () => {
    expect(load({ PATH: '/bin', TX: '1' }).limits.maxSizeMb).toBe(5);
    expect(
      loadConfig({ schema, env: { T_X: '1' }, prefix: 'T_', otherVariables: ['T_X'] }).key,
    ).toBeUndefined();
  });

  it.each(['__proto__', 'constructor', 'toString'])('%s is no key', async (key) => {
    const path = join(folder.path, 'c.yaml');
    await writeFile(path, `${key}: {limits: 1}\n`);

    expect(() => loadConfig({ schema, env: {}, prefix: 'T_', file: { path, required: true } })).toThrow(
      /c\.yaml:1:1 .*unknown key/,
    );
  });

  it('what is not YAML is told with its place, and defaults do not hide it', async () => {
    const path = join(folder.path, 'bad.yaml');
    await writeFile(path, 'limits:\n\tmaxSizeMb: 1\n');

    expect(() => loadConfig({ schema, env: {}, prefix: 'T_', file: { path, required: false } })).toThrow(
      /bad\.yaml:2:1/,
    );
  });

  it('defaults are not shared between two configurations', () => {
    expect(load({}).limits.names).not.toBe(load({}).limits.names);
  });
});
