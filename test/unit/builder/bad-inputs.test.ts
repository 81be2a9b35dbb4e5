import { describe, expect, it } from 'vitest';
import { createAppFileParser } from '../../../builder/appfile/parse-appfile.ts';
import { appFileSchema } from '../../../builder/appfile/schema.ts';
import { commandsArgv } from '../../../builder/engines/docker/run-commands.ts';
import { imageContent } from '../../../builder/plan/image-content.ts';
import { printDockerfile } from '../../../builder/plan/print-dockerfile.ts';
import { baseReference, planOf } from './plan/plan-fixture.ts';

/** The list of bad inputs in builder.md 6, as far as App.yaml can bring them in; the numbers are its rows. */

const parse = createAppFileParser();
const good = {
  appname: 'shop',
  base: 'nodejs:26',
  entrypoints: { web: { cmd: 'node x' } },
};

/** JSON is YAML: any text survives the way in. */
function faultsOf(change: object): string[] {
  return parse('App.yaml', JSON.stringify({ ...good, ...change })).faults.map(
    ({ code, path, message }) => `${code} ${path}: ${message}`,
  );
}

async function dockerfileOf(change: object): Promise<string[]> {
  return printDockerfile(await planOf(JSON.stringify({ ...good, ...change })), { baseReference }).split('\n');
}

describe('row 1: a line end adds no instruction', () => {
  const ends = ['\n', '\r', '\u2028', '\u2029', '\u0085'].map((end) => `x${end}RUN id`);
  it.each(
    ends.flatMap((text): [string, object][] => [
      ['appname', { appname: text }],
      ['base', { base: text }],
      ['a label', { labels: { a: text } }],
      ['the name of a label', { labels: { [text]: 'a' } }],
      ['a variable', { envs: { A: text } }],
      ['the name of a variable', { envs: { [text]: 'a' } }],
      ['dir', { entrypoints: { web: { cmd: 'x', dir: text } } }],
      ['the name of a role', { entrypoints: { [text]: { cmd: 'x' } } }],
      ['a script', { static: text, runtime: text }],
      ['a platform', { platforms: [text] }],
      ['a variable of the build', { build: { commands: ['x'], envs: { A: text } } }],
    ]),
  )('%s, case %#', (_, change) => {
    expect(faultsOf(change)).not.toEqual([]);
  });

  it('in a build command it stays within its RUN', async () => {
    const lines = await dockerfileOf({ build: ['a\nUSER root\r\nb\\'] });

    expect(lines.filter((line) => line.startsWith('RUN'))).toEqual([
      'RUN ["/bin/sh","-ec","a\\nUSER root\\r\\nb\\\\"]',
    ]);
  });
});

describe('rows 2 to 4: what means something to a Dockerfile or a shell', () => {
  it.each(['# escape=`', '# syntax=evil/frontend'])('%j is no directive', async (text) => {
    const [first, second] = await dockerfileOf({ labels: { a: text }, build: [text] });

    expect(first).toBe('# Made by brickyard from App.yaml. Change App.yaml, not this file.');
    expect(second).toMatch(/^FROM /);
  });

  it('a here-document is text of its command', async () => {
    expect(await dockerfileOf({ build: ['cat <<EOF > x\nRUN id\nEOF'] })).toContain(
      'RUN ["/bin/sh","-ec","cat \\u003c\\u003cEOF > x\\nRUN id\\nEOF"]',
    );
  });

  it('variables in values are literal', async () => {
    const lines = await dockerfileOf({ envs: { A: '$HOME ${PATH:-x}' }, labels: { a: '$(id)' } });

    expect(lines).toContain('ENV A="\\$HOME \\${PATH:-x}"');
    expect(lines).toContain('LABEL a="\\$(id)"');
  });

  it('quotes of a build command reach its shell as they are', async () => {
    const command = 'echo "a" `id` \'b\'';

    expect(await dockerfileOf({ build: [command] })).toContain(
      'RUN ["/bin/sh","-ec","echo \\"a\\" `id` \'b\'"]',
    );
    expect(commandsArgv([command], 'word').at(-1)).toBe(command);
  });
});

describe('row 5: a base is a reference or an error', () => {
  it.each(['../x', 'x --platform=y', 'scratch as y', 'nodejs:2 6', 'x@sha256:1', 'https://x/y', '-x', ''])(
    '%j',
    (base) => {
      expect(faultsOf({ base })).toEqual([expect.stringMatching(/^E0(?:22|13) base: /)]);
      expect(faultsOf({ build: { base, commands: ['x'] } })).toEqual([
        expect.stringMatching(/^E0(?:22|13) build.base: /),
      ]);
    },
  );
});

describe('rows 7 and 8: patterns', () => {
  it.each(['../x', 'a/../../x', '/etc/shadow'])('%j leaves the source', (pattern) => {
    expect(faultsOf({ source: { include: [pattern] } })).not.toEqual([]);
    expect(faultsOf({ source: { exclude: [pattern] } })).not.toEqual([]);
    expect(faultsOf({ build: { commands: ['x'], outputs: { [pattern]: '/home/shop/' } } })).not.toEqual([]);
    expect(faultsOf({ test: { commands: ['x'], artifacts: [pattern] } })).not.toEqual([]);
  });

  it('a hundred of the longest are checked in bounded time', () => {
    const started = performance.now();

    faultsOf({ source: { exclude: Array.from({ length: 100 }, () => '**/'.repeat(85)) } });

    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('rows 25 and 26: nothing of the machine', () => {
  it('no key of App.yaml asks for sockets, devices, privileges or namespaces', () => {
    const keys: string[] = [];
    const visit = (schema: unknown): void => {
      if (typeof schema !== 'object' || schema === null) return;
      const { properties } = schema as { properties?: object };
      keys.push(...Object.keys(properties ?? {}));
      for (const value of Object.values(schema)) visit(value);
    };
    visit(appFileSchema);

    expect(keys).toContain('network');
    expect(
      keys.filter((key) => /priv|socket|device|mount|cap_?|pid|ipc|secur|userns|sysctl/.test(key)),
    ).toEqual([]);
  });

  it.each(['build', 'test'])('the network of %s is none, or one behind the proxy', (key) => {
    expect(faultsOf({ [key]: { commands: ['x'], network: 'host' } })).toEqual([
      `E013 ${key}.network: must be none, proxy or open`,
    ]);
  });

  it.each([
    '/proc/self/fd/8',
    '/proc',
    '/sys/fs',
    '/dev/shm',
    '/',
    '/root',
    '/home/other',
    '../x',
    '/home/shop/../../proc',
  ])('dir cannot be %s', (dir) => {
    expect(faultsOf({ entrypoints: { web: { cmd: 'x', dir } } })).not.toEqual([]);
  });
});

describe('rows 35 and 36: who an application is', () => {
  it.each([
    'library',
    'root',
    'daemon',
    'con',
    'lpt1',
    'shоp',
    'ｓhop',
    'Shop',
    'x'.repeat(33),
    'a/b',
    '..',
    '-a',
    'a-',
  ])('appname %j is refused', (appname) => {
    expect(faultsOf({ appname })).toEqual([expect.stringMatching(/^E01[35] appname: /)]);
  });

  it('its user is the same number in every image, above those of any Debian package', async () => {
    const one = imageContent(await planOf(JSON.stringify(good))).config.user;
    const other = imageContent(await planOf(JSON.stringify({ ...good, appname: 'pay' }))).config.user;

    expect([one, other]).toEqual(['10001:10001', '10001:10001']);
  });
});

describe('row 38: a command that needs a shell', () => {
  it.each(['a && b', 'a | b', 'a > b', 'a $PORT', 'a `id`', 'A=b c', 'a; b', 'a &'])('%j says so', (cmd) => {
    expect(faultsOf({ entrypoints: { web: { cmd } } })).toEqual([
      expect.stringMatching(/^E016 entrypoints.web.cmd: needs shell: /),
    ]);
  });

  it.each(['', '   ', "'a", '"a', 'a \\'])('%j is none', (cmd) => {
    expect(faultsOf({ entrypoints: { web: { cmd } } })).not.toEqual([]);
  });

  it('tabs and quotes split as a shell does', async () => {
    const { roles } = await planOf(
      JSON.stringify({ ...good, entrypoints: { web: { cmd: 'a\t \'b  c\' "d"e' } } }),
    );

    expect(roles[0]?.command).toEqual(['a', 'b  c', 'de']);
  });
});
