import { describe, expect, it } from 'vitest';
import { imageSelection, workspaceSelection } from '../../../../builder/plan/select-source.ts';
import { base, planOf, planText } from './plan-fixture.ts';

const web = 'entrypoints: {web: {cmd: node server.js}}\n';

describe('planBuild', () => {
  it('fills in every default', async () => {
    const plan = await planOf(`appname: shop\nbase: nodejs:26\n${web}`);

    expect(plan).toEqual({
      repository: 'team/shop',
      appname: 'shop',
      base: base('nodejs:26'),
      directory: '/home/shop',
      source: { include: ['**'], exclude: [] },
      roles: [
        {
          name: 'web',
          command: ['node', 'server.js'],
          environment: {},
          workingDirectory: '/home/shop',
          user: 'app',
          ports: [],
        },
      ],
      environment: {},
      labels: {},
      volumes: [],
    });
  });

  it('takes the base of the server where the file names none, also for its -build flavour', async () => {
    const text = `appname: shop\nbuild: make\n${web}`;
    const { plan } = await planText(text, [], { defaultBase: 'jdk:8' });
    const { faults } = await planText(text, [], { defaultBase: 'nodejs:2' });

    expect([plan?.base.name, plan?.build?.base.name]).toEqual(['jdk:8', 'jdk-build:8']);
    expect(faults).toMatchObject([
      {
        code: 'E022',
        message: 'there is no base image nodejs:2, which builder.defaultBase of the server names',
      },
    ]);
  });

  it('names the platforms that the base has where it lacks one, at its place', async () => {
    const text = `appname: shop\nbase: nodejs:26\nplatforms: [linux/amd64, linux/arm64, linux/s390x]\n${web}`;
    const found = (platforms: string[]) => ({
      resolveBase: (name: string) =>
        Promise.resolve({ ...base(name), platforms: () => Promise.resolve(platforms) }),
    });
    const { faults } = await planText(text, [], found(['linux/amd64', 'linux/arm64/v8']));
    const { plan } = await planText(text, [], found(['linux/amd64', 'linux/arm64', 'linux/s390x']));

    expect(faults).toMatchObject([
      {
        line: 3,
        column: 39,
        code: 'E022',
        message: 'nodejs:26 has no image for linux/s390x; it has linux/amd64, linux/arm64/v8',
      },
    ]);
    expect(plan?.platforms).toEqual(['linux/amd64', 'linux/arm64', 'linux/s390x']);
    expect(plan?.base).toEqual(base('nodejs:26'));
  });

  describe('a deprecated base', () => {
    const text = `appname: shop\nbase: nodejs:20\n${web}`;
    const plan = (level: 'warn' | 'block-new' | 'block', hasImage?: boolean) =>
      planText(text, [], {
        today: '2026-06-01',
        resolveBase: (name) =>
          Promise.resolve({
            ...base(name),
            deprecation: { level, since: '2026-01-01', sunset: '2026-12-31', replacement: 'nodejs:26' },
          }),
        ...(hasImage === undefined ? {} : { hasImageOn: () => Promise.resolve(hasImage) }),
      });

    it.each([
      ['warn', undefined],
      ['warn', false],
      ['block-new', undefined],
      ['block-new', true],
    ] as const)(
      'at level %s (has an image: %s) is warned of, and the plan is the same',
      async (level, has) => {
        const { plan: planned, faults } = await plan(level, has);

        expect(planned?.base).toEqual(base('nodejs:20'));
        expect(faults).toMatchObject([
          {
            line: 2,
            column: 7,
            code: 'W001',
            severity: 'warning',
            message: expect.stringMatching(
              /^the base image nodejs:20 is deprecated since 2026-01-01 and ends on 2026-12-31/,
            ),
            hint: 'write nodejs:26',
          },
        ]);
      },
    );

    it.each([
      ['block-new', false, 'team/shop has no image on it yet, and new ones are refused'],
      ['block', true, 'no image can be built on it'],
    ] as const)('at level %s (has an image: %s) is an error', async (level, has, message) => {
      const { plan: planned, faults } = await plan(level, has);

      expect(planned).toBeUndefined();
      expect(faults).toMatchObject([
        { line: 2, code: 'E022', message: expect.stringContaining(message), hint: 'write nodejs:26' },
      ]);
    });
  });

  it('keeps the order of the roles, the first being the default', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nentrypoints: {z: {cmd: z}, a: {shell: "a && b"}, m: {commands: [m, ""]}}\n',
    );

    expect(plan.roles.map((role) => [role.name, role.command])).toEqual([
      ['z', ['z']],
      ['a', ['/bin/sh', '-c', 'a && b']],
      ['m', ['m', '']],
    ]);
  });

  it('gives declared ports a TCP check, and an HTTP check the only port and the code 200', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nentrypoints: {a: {cmd: a, ports: [80, "53/udp"]}, b: {cmd: b, ports: ["81/http"], healthcheck: {url: /ping}}}\n',
    );

    expect(plan.roles.map((role) => role.healthcheck)).toEqual([
      { tcpPorts: [80] },
      { port: 81, url: '/ping', code: 200 },
    ]);
  });

  it('builds in the -build flavour where the catalog has one, else in the base itself', async () => {
    const flavoured = await planOf(`appname: shop\nbase: jdk:8\nbuild: [make]\n${web}`);
    const plain = await planOf(`appname: shop\nbase: nodejs:26\nbuild: make\n${web}`);

    expect(flavoured.build?.base.name).toBe('jdk-build:8');
    expect(plain.build).toEqual({
      base: base('nodejs:26'),
      commands: ['make'],
      outputs: {},
      network: 'open',
      timeoutSeconds: 900,
    });
  });

  it('tests in the base of the build, also where nothing is built', async () => {
    const alone = await planOf(`appname: shop\nbase: jdk:8\ntest: [a, b]\n${web}`);
    const both = await planOf(
      `appname: shop\nbase: jdk:8\nbuild: {base: nodejs:26, commands: [make]}\ntest: {commands: [a], artifacts: [r/*], network: none, timeout: 5m}\n${web}`,
    );

    expect(alone.build).toBeUndefined();
    expect(alone.test).toEqual({
      base: base('jdk-build:8'),
      commands: ['a', 'b'],
      artifacts: [],
      network: 'open',
      timeoutSeconds: 900,
    });
    expect(both.test).toEqual({
      base: base('nodejs:26'),
      commands: ['a'],
      artifacts: ['r/*'],
      network: 'none',
      timeoutSeconds: 300,
    });
  });

  it('lets only outputs enter the image where there are some, and the source when it is asked for', async () => {
    const start =
      'appname: shop\nbase: nodejs:26\nbuild: {commands: [make], outputs: {dist: /home/shop/dist}}\n';
    const outputsOnly = await planOf(`${start}${web}`);
    const both = await planOf(`${start}source: {include: [conf]}\n${web}`);
    const workspace = await planOf(
      `appname: shop\nbase: nodejs:26\nbuild: make\nsource: {exclude: [test]}\n${web}`,
    );

    expect(imageSelection(outputsOnly).include).toEqual([]);
    expect(workspaceSelection(outputsOnly)).toEqual({ include: ['**'], exclude: [] });
    expect(imageSelection(both).include).toEqual(['conf']);
    expect(workspaceSelection(both)).toEqual({ include: ['**'], exclude: [] });
    expect(imageSelection(workspace).include).toEqual([]);
    expect(workspaceSelection(workspace)).toEqual({ include: ['**'], exclude: ['test'] });
  });

  it('keeps what is for the scheduler in a label', async () => {
    const plan = await planOf(`appname: shop\nbase: nodejs:26\nnotify: "#téam"\ndns: [10.0.0.2]\n${web}`);

    expect(plan.labels).toEqual({ 'org.brickyard.deploy': '{"dns":["10.0.0.2"],"notify":"#t\\u00e9am"}' });
  });

  it('takes a working directory from the app’s own', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nentrypoints: {a: {cmd: a, dir: sub/}, b: {cmd: b, dir: /opt/x}}\n',
    );

    expect(plan.roles.map((role) => role.workingDirectory)).toEqual(['/home/shop/sub', '/opt/x']);
  });

  it.each([
    [
      'no base, in a Node project',
      `appname: shop\n${web}`,
      ['package.json'],
      '1:1 E022 no base image is named (write base: nodejs:26)',
    ],
    [
      'no base, and nothing to tell one',
      `appname: shop\n${web}`,
      [],
      '1:1 E022 no base image is named (write base: nodejs:26, or another one of "brickyard base ls")',
    ],
    [
      'an unknown base',
      `appname: shop\nbase: nodjs:26\n${web}`,
      [],
      '2:7 E022 there is no base image nodjs:26 (did you mean "nodejs:26"?)',
    ],
    [
      'an unknown build base',
      `appname: shop\nbase: nodejs:26\nbuild: {base: x:1, commands: [a]}\n${web}`,
      [],
      '3:15 E022 there is no base image x:1 (did you mean "nodejs:26"?)',
    ],
    [
      'a second role on a base without a launcher',
      'appname: shop\nbase: bare:1\nentrypoints: {a: {cmd: a}, b: {cmd: b}}\n',
      [],
      '3:28 E022 bare:1 has no launcher: the image can have one entrypoint only',
    ],
    [
      'a shell on a base without one',
      'appname: shop\nbase: bare:1\nentrypoints: {a: {shell: a}}\n',
      [],
      '3:26 E022 bare:1 has no shell (write cmd or commands)',
    ],
    [
      'a start script on a base without a launcher',
      'appname: shop\nbase: bare:1\nruntime: r.sh\nentrypoints: {a: {cmd: a}}\n',
      [],
      '3:10 E022 bare:1 has no launcher to run a script at the start',
    ],
    [
      'a static script on a base without a shell',
      'appname: shop\nbase: bare:1\nstatic: s.sh\nentrypoints: {a: {cmd: a}}\n',
      [],
      '3:9 E022 bare:1 has no shell to run a script with',
    ],
    [
      'build commands on a base without a shell',
      'appname: shop\nbase: bare:1\nbuild: make\nentrypoints: {a: {cmd: a}}\n',
      [],
      '3:8 E022 bare:1 has no shell to run the commands with (name another one as base: under build:)',
    ],
    [
      'tests on a base without a shell',
      'appname: shop\nbase: bare:1\ntest: make\nentrypoints: {a: {cmd: a}}\n',
      [],
      '3:7 E022 bare:1 has no shell to run the commands with (leave test out, or name a base with a shell)',
    ],
    ['a file with an error', 'appname: shop\n', [], '1:1 E011 the key "entrypoints" is missing'],
  ])('has no plan for %s', async (_name, text, names, expected) => {
    const { plan, faults } = await planText(text, names);

    expect(plan).toBeUndefined();
    expect(
      faults.map(
        ({ line, column, code, message, hint }) =>
          `${line}:${column} ${code} ${message}${hint === undefined ? '' : ` (${hint})`}`,
      ),
    ).toEqual([expected]);
  });

  it('makes equal plans of equal files', async () => {
    const text = `appname: shop\nbase: nodejs:26\nenvs: {B: "1", A: "2"}\n${web}`;

    expect(JSON.stringify(await planOf(text))).toBe(JSON.stringify(await planOf(text)));
  });
});
