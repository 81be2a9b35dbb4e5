import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAppFileParser } from '../../../../builder/appfile/parse-appfile.ts';
import type { BuildPlan } from '../../../../builder/plan/plan.ts';
import { planBuild } from '../../../../builder/plan/plan-build.ts';
import { dockerfileContext, printDockerfile } from '../../../../builder/plan/print-dockerfile.ts';
import { contentSelection } from '../../../../builder/plan/select-source.ts';
import { volumeDirectories } from '../../../../builder/plan/volume-directories.ts';
import { base, baseReference, planOf } from './plan-fixture.ts';

const nodejs = baseReference(base('nodejs:26'));

describe('printDockerfile', () => {
  it('prints an app without a build', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nenvs: {A: \'x "y" $Z \\\'}\nlabels: {l: v}\nvolumes: [/data]\nstop_signal: TERM\nentrypoints: {web: {cmd: node x, ports: [80]}}\n',
    );

    expect(
      printDockerfile(plan, { baseReference }),
    ).toBe(`# Made by brickyard from App.yaml. Change App.yaml, not this file.
FROM ${nodejs}
USER 0:0
COPY --chown=10001:10001 ["dependencies/","/home/shop/"]
COPY --chown=10001:10001 ["resources/","/home/shop/"]
COPY --chown=10001:10001 ["app/","/home/shop/"]
COPY --chown=0:0 ["appimg/","/etc/appimg/"]
COPY --chown=10001:10001 ["volume/","/data/"]
ENV APP_NAME="shop"
ENV HOME="/home/shop"
ENV A="x \\"y\\" \\$Z \\\\"
LABEL l="v"
LABEL org.brickyard.appname="shop"
LABEL org.brickyard.roles="{\\"web\\":{\\"command\\":[\\"node\\",\\"x\\"],\\"dir\\":\\"/home/shop\\",\\"ports\\":[\\"80/tcp\\"],\\"healthcheck\\":{\\"tcpPorts\\":[80]},\\"user\\":\\"app\\"}}"
EXPOSE 80/tcp
VOLUME ["/data"]
STOPSIGNAL SIGTERM
USER 10001:10001
WORKDIR /home/shop
ENTRYPOINT ["/usr/bin/tini","--","/usr/local/bin/launcher"]
CMD ["web"]
`);
  });

  it('prints build commands as a stage of their own, of which only the outputs are taken', async () => {
    const plan = await planOf(
      'appname: shop\nbase: jdk:8\nbuild: {commands: ["mvn package\\ntrue", "cat <<EOF"], outputs: {target/a.war: /home/shop/a.war, "lib/**": /home/shop/lib/}}\nentrypoints: {web: {cmd: x}}\n',
    );
    const lines = printDockerfile(plan, { baseReference }).split('\n');

    expect(lines.slice(1, 16)).toEqual([
      `FROM ${baseReference(base('jdk-build:8'))} AS build`,
      'USER 0:0',
      'COPY --chown=10001:10001 ["workspace/","/home/shop/"]',
      'USER 10001:10001',
      'ENV HOME="/tmp"',
      'WORKDIR /home/shop',
      'RUN ["/bin/sh","-ec","mvn package\\ntrue"]',
      'RUN ["/bin/sh","-ec","cat \\u003c\\u003cEOF"]',
      '',
      `FROM ${baseReference(base('jdk:8'))}`,
      'USER 0:0',
      'COPY --chown=10001:10001 ["app/","/home/shop/"]',
      'COPY --from=build --chown=10001:10001 ["/home/shop/target/a.war","/home/shop/a.war"]',
      'COPY --from=build --chown=10001:10001 ["/home/shop/lib/","/home/shop/lib/"]',
      'COPY --chown=0:0 ["appimg/","/etc/appimg/"]',
    ]);
  });

  it('runs the static script over the content in a stage of its own, of which the app’s directory is taken', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nstatic: bin/static.sh\nentrypoints: {web: {cmd: x}}\n',
    );
    const lines = printDockerfile(plan, { baseReference }).split('\n');
    const built = printDockerfile(plan, { baseReference, built: true });

    expect(lines.slice(1, 17)).toEqual([
      `FROM ${baseReference(base('nodejs:26'))} AS content`,
      'USER 0:0',
      'COPY --chown=10001:10001 ["dependencies/","/home/shop/"]',
      'COPY --chown=10001:10001 ["resources/","/home/shop/"]',
      'COPY --chown=10001:10001 ["app/","/home/shop/"]',
      'COPY --chown=0:0 ["static/","/home/.static/"]',
      'ENV APP_NAME="shop"',
      'ENV HOME="/tmp"',
      'USER 10001:10001',
      'WORKDIR /home/shop',
      'RUN ["/home/.static/static.sh"]',
      '',
      `FROM ${baseReference(base('nodejs:26'))}`,
      'USER 0:0',
      'COPY --from=content --chown=10001:10001 ["/home/shop/","/home/shop/"]',
      'COPY --chown=0:0 ["appimg/","/etc/appimg/"]',
    ]);
    expect(dockerfileContext(plan).copies).toEqual([
      { path: 'static/static.sh', mode: 0o755, source: 'bin/static.sh' },
    ]);
    expect(built).not.toContain('RUN');
    expect(built).toContain('["outputs/app/","/home/shop/"]');
  });

  it('takes what a sandbox has built already from the context', async () => {
    const plan = await planOf('appname: shop\nbase: nodejs:26\nbuild: make\nentrypoints: {web: {cmd: x}}\n');
    const text = printDockerfile(plan, { baseReference, built: true });

    expect(text).not.toContain('RUN');
    for (const part of ['dependencies', 'resources', 'app']) {
      expect(text).toContain(`COPY --chown=10001:10001 ["outputs/${part}/","/home/shop/"]`);
    }
  });

  it('describes the context that it copies from', async () => {
    const plan = await planOf(
      'appname: shop\nbase: nodejs:26\nruntime: r.sh\nbuild: {commands: [make], outputs: {a: /home/shop/a}}\nentrypoints: {web: {cmd: x}}\n',
    );
    const context = dockerfileContext(plan);

    expect(context.files.map((file) => file.path)).toEqual(['appimg/roles/web']);
    expect(context.copies).toEqual([{ path: 'appimg/runtime.sh', mode: 0o755, source: 'r.sh' }]);
    expect(context.trees).toEqual([
      { prefix: 'app/', selection: { include: [], exclude: [] }, part: 'app' },
      { prefix: 'workspace/', selection: { include: ['**'], exclude: [] } },
    ]);
    expect(dockerfileContext(plan, { built: true }).trees).toHaveLength(1);
    const { build: _, ...unbuilt } = { ...plan, source: { include: ['**'], exclude: ['x'] } };
    expect(dockerfileContext(unbuilt).trees).toEqual(
      ['dependencies', 'resources', 'app'].map((part) => ({
        prefix: `${part}/`,
        selection: { include: ['**'], exclude: ['x'] },
        part,
      })),
    );
  });

  it.each([
    'nodejs:26',
    `x --platform=y@${base('nodejs:26').digest}`,
    `x@${base('base:12').digest}`,
    `x@${base('nodejs:26').digest}\nRUN id`,
    'scratch',
  ])('refuses the base reference %j: it is not the planned base by its digest', async (reference) => {
    const plan = await planOf('appname: shop\nbase: nodejs:26\nentrypoints: {web: {cmd: x}}\n');

    expect(() => printDockerfile(plan, { baseReference: () => reference })).toThrow(RangeError);
  });

  it.each<[string, Partial<BuildPlan>]>([
    ['a variable', { environment: { A: 'x\nRUN id' } }],
    ['the name of a variable', { environment: { 'A\nRUN': 'x' } }],
    ['a label', { labels: { a: 'x\r\nRUN id' } }],
    ['the name of a label', { labels: { 'a=b\nRUN id\n#': 'x' } }],
    ['the stop signal', { stopSignal: 'TERM\nRUN id' }],
    ['a label with U+2028', { labels: { a: 'x\u2028RUN id' } }],
  ])('refuses a plan that was not checked, with a line end in %s', async (_name, change) => {
    const plan = await planOf('appname: shop\nbase: nodejs:26\nentrypoints: {web: {cmd: x}}\n');

    expect(() => printDockerfile({ ...plan, ...change }, { baseReference })).toThrow(RangeError);
  });
});

/** Text as an attacker would choose it. */
const pieces = [
  ['\nRUN id', '\r\nUSER root', '\u2028RUN id', '\u0085RUN id', '\\', 'x\\\n', '# escape=`', '# syntax=evil'],
  ['<<EOF', '<<-"EOF"', '$HOME', '${HOME:-x}', '"', "'", '`id`', '"]\nRUN ["id"', '" B="', ' ', '\t', '[]'],
  ['["a"]', '--from=x', '\0', '\u001B[2J', '../x', '/', 'plain', 'a b', '*.jar', '=', '\uFEFF', '\u{1F680}'],
].flat();
const hostile = fc.oneof(
  fc.constantFrom(...pieces),
  fc.tuple(fc.constantFrom(...pieces), fc.constantFrom(...pieces)).map(([a, b]) => `${a}${b}`),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

const good = {
  appname: 'shop',
  base: 'nodejs:26',
  entrypoints: { web: { cmd: 'node x' }, job: { shell: 'a && b' } },
  envs: { A: 'x' },
  labels: { a: 'x' },
};

/** One or two keys of a good file with text from outside in every place that takes text. */
const changes = fc
  .tuple(hostile, hostile, fc.integer({ min: 0, max: 14 }))
  .map(([a, b, choice]): Record<string, unknown> => {
    const all: Record<string, unknown>[] = [
      { appname: a },
      { base: a },
      { build: a, envs: { A: b } },
      { build: [a, b] },
      { build: { commands: [a], outputs: { [b]: '/home/shop/x/' } } },
      { build: { commands: ['x'], outputs: { x: `/home/shop/${a}` } } },
      { entrypoints: { [a]: { cmd: b } } },
      { entrypoints: { web: { commands: ['x', a, b] } }, volumes: [`/${a}`] },
      { entrypoints: { web: { shell: a, env: { A: b } } } },
      { entrypoints: { web: { cmd: 'x', dir: a, stop_signal: b } } },
      { envs: { A: a, [b]: 'x' } },
      { labels: { a, [b]: 'x' } },
      { runtime: a, notify: b },
      { static: a, runtime: b, build: 'x' },
      { static: 's.sh', envs: { A: a }, labels: { a: b } },
    ];
    return all[choice] ?? {};
  });

/** The instructions that a plan must have, in their order; values do not matter. */
function expectedInstructions(plan: BuildPlan): string {
  const many = (instruction: string, count: number): string[] => Array<string>(count).fill(instruction);
  const direct = plan.base.launcher ? {} : plan.roles[0]?.environment;
  const stage = [
    'FROM',
    'USER',
    'COPY',
    'USER',
    'ENV',
    'WORKDIR',
    ...many('RUN', plan.build?.commands.length ?? 0),
  ];
  const outputs = Object.keys(plan.build?.outputs ?? {}).length;
  const first = [
    'FROM',
    'USER',
    ...many('COPY', contentSelection(plan).include.length === 0 ? 1 : 3),
    ...many('COPY', plan.build === undefined ? 0 : Math.max(1, outputs)),
  ];
  const names = new Set(['APP_NAME', 'HOME', ...Object.keys({ ...plan.environment, ...direct })]);
  const environment = many('ENV', names.size);
  const own = ['org.brickyard.appname', 'org.brickyard.roles'];
  return [
    ...(plan.build === undefined ? [] : stage),
    ...first,
    ...(plan.staticScript === undefined ? [] : ['COPY', ...environment, 'USER WORKDIR RUN FROM USER COPY']),
    ...many('COPY', (plan.base.launcher ? 1 : 0) + volumeDirectories(plan.volumes).length),
    ...environment,
    ...many('LABEL', new Set([...own, ...Object.keys(plan.labels)]).size),
    ...many('VOLUME', plan.volumes.length > 0 ? 1 : 0),
    ...many('STOPSIGNAL', plan.stopSignal === undefined ? 0 : 1),
    'USER WORKDIR ENTRYPOINT',
    ...many('CMD', plan.base.launcher ? 1 : 0),
  ].join(' ');
}

/** Reads the Dockerfile back as an engine would see it at worst: any kind of line end ends a line. */
function expectHarmless(plan: BuildPlan): void {
  const [first, ...rest] = printDockerfile(plan, { baseReference }).split(/[\n\r\u0085\u2028\u2029]/);
  // A comment that is no parser directive goes first, so a directive can come no more.
  expect(first).toBe('# Made by brickyard from App.yaml. Change App.yaml, not this file.');
  const instructions = rest.filter((text) => text !== '');
  expect(instructions.map((text) => text.split(' ')[0]).join(' ')).toBe(expectedInstructions(plan));
  for (const text of instructions) {
    // Neither a continued line nor a here-document, which RUN and COPY have.
    expect(text).not.toMatch(/\\[ \t]*$|^(?:RUN|COPY).*<</);
    const json = /^(?:RUN|COPY|ENTRYPOINT|CMD|VOLUME)(?: --[a-z]+=[a-z0-9:]+)* (.*)$/.exec(text);
    if (json !== null) expect(JSON.parse(json[1] ?? '')).toBeInstanceOf(Array);
    else {
      expect(text).toMatch(
        /^(?:FROM|USER|WORKDIR|EXPOSE|STOPSIGNAL) [\w./:@+~ -]+$|^(?:ENV|LABEL) [\w./-]+="(?:[^"\\$]|\\["\\$])*"$/,
      );
    }
  }
}

describe('no text', () => {
  it('in any field of App.yaml adds, hides or joins an instruction of the Dockerfile', async () => {
    const parse = createAppFileParser();
    let planned = 0;
    await fc.assert(
      fc.asyncProperty(changes, async (change) => {
        // JSON is YAML: any text survives the way in.
        const appfile = parse('App.yaml', JSON.stringify({ ...good, ...change }));
        const resolveBase = (name: string) => Promise.resolve(base(name));
        const { plan } = await planBuild({ appfile, team: 'team', resolveBase });
        if (plan === undefined) return;
        planned += 1;
        expectHarmless(plan);
      }),
      { numRuns: 500 },
    );

    // Enough of them got past the checks for the property to mean something.
    expect(planned).toBeGreaterThan(20);
  });

  it('in a plan that nobody checked does so either: it is printed harmlessly or not at all', async () => {
    const plan = await planOf(JSON.stringify({ ...good, build: 'make' }));
    let printed = 0;
    fc.assert(
      fc.property(hostile, hostile, fc.integer({ min: 0, max: 6 }), (a, b, choice) => {
        const [role] = plan.roles;
        if (role === undefined || plan.build === undefined) throw new Error('no role');
        const all: Partial<BuildPlan>[] = [
          { environment: { [a]: b } },
          { labels: { [a]: b } },
          { directory: `/home/${a}`, appname: a },
          { stopSignal: a, volumes: [b] },
          {
            roles: [{ ...role, name: a, command: [a, b], environment: { A: b }, hooks: { afterStart: [a] } }],
          },
          { build: { ...plan.build, commands: [a, b], outputs: { [a]: b } } },
          {
            base: { ...plan.base, launcher: false },
            roles: [{ ...role, command: [a], workingDirectory: b, environment: { A: a } }],
          },
        ];
        try {
          expectHarmless({ ...plan, ...all[choice] });
          printed += 1;
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      }),
      { numRuns: 500 },
    );

    expect(printed).toBeGreaterThan(20);
  });
});
