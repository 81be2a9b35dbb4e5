import { describe, expect, it } from 'vitest';
import { faultsOf, meaningOf } from './eru-fixture.ts';

const top = 'appname: shop\nentrypoints:\n  web:\n    cmd: ./shop\n';

function twoStages(first: string, last = 'base: base:12', more = ''): string {
  return `${top}stages: [build, pack]\nbuilds:\n  build: {base: "go-build:1", ${first}}\n  pack: {${last}}\n${more}`;
}

describe('stages and builds', () => {
  it('the last stage is the image, the first one its build, whose cache is the outputs', () => {
    const file = meaningOf(
      twoStages(
        'repo: "git@host:team/shop.git", version: HEAD, dir: /go/src/shop, commands: [make test, make], cache: {/go/src/shop/shop: /home/shop/shop}',
        'base: base:12, envs: {A: 1}, labels: {ERU: 1}, stop_signal: INT',
      ),
    );

    expect(file).toMatchObject({
      base: 'base:12',
      build: { base: 'go-build:1', commands: ['make test', 'make'], outputs: { shop: '/home/shop/shop' } },
      envs: { A: '1' },
      labels: { ERU: '1' },
      stop_signal: 'INT',
      deploy: { stages: { build: { dir: '/go/src/shop' } } },
    });
  });

  it('complex_build is the same, its artifacts are the outputs', () => {
    const text = `${top}complex_build:
  stages: [build, pack]
  builds:
    build: {base: "jdk-build:17", commands: [mvn package], artifacts: {target/a.war: /home/shop/a.war}}
    pack: {base: "jdk:17"}
`;

    expect(meaningOf(text)).toMatchObject({
      base: 'jdk:17',
      build: {
        base: 'jdk-build:17',
        commands: ['mvn package'],
        outputs: { 'target/a.war': '/home/shop/a.war' },
      },
    });
  });

  it('a single stage builds in its own base', () => {
    const file = meaningOf(`${top}stages: [a]\nbuilds: {a: {base: "nodejs:26", commands: [npm ci]}}\n`);

    expect(file).toMatchObject({ base: 'nodejs:26', build: { base: 'nodejs:26', commands: ['npm ci'] } });
  });

  it('a single stage without commands is only a base', () => {
    const file = meaningOf(`${top}stages: [a]\nbuilds: {a: {base: "nodejs:26"}}\n`);

    expect([file.base, file.build]).toEqual(['nodejs:26', undefined]);
  });

  it('a base of the top counts for the stages without one', () => {
    const file = meaningOf(
      `base: nodejs:26\n${top}stages: [a, b]\nbuilds: {a: {commands: [x], cache: {d: /home/shop/d}}, b: {}}\n`,
    );

    expect(file).toMatchObject({ base: 'nodejs:26', build: { base: 'nodejs:26' } });
  });

  it('the whole directory of a stage as cache is all of the workspace', () => {
    const file = meaningOf(twoStages('dir: /app, commands: [x], cache: {/app: /home/shop/}'));

    expect(file.build).toMatchObject({ outputs: { '**': '/home/shop/' } });
  });

  it('a first stage without commands only hands on files', () => {
    expect(meaningOf(twoStages('cache: {d: /home/shop/d}')).build).toMatchObject({ commands: ['true'] });
  });

  it('warns of commands that name the old directory', () => {
    expect(
      faultsOf(twoStages('dir: /app, commands: [cd /app], cache: {/app/d: /home/shop/d}')).join('\n'),
    ).toMatch(/warning W002 builds\.build\.commands\[0\]: the source lies in \/home\/shop now, not in \/app/);
  });

  it('what is laid outside of the application’s directory keeps the image from being rebased', () => {
    const text = twoStages('commands: [x], cache: {d: /bin/d, e: /usr/share/e, f: /home/shop/f}');

    expect(meaningOf(text)).toMatchObject({
      build: { outputs: { d: '/usr/bin/d', e: '/usr/share/e', f: '/home/shop/f' } },
      rebase: 'never',
    });
    expect(faultsOf(text).join('\n')).toMatch(
      /builds\.build\.cache\.d: lies outside .* rebuilt, never rebased/,
    );
  });

  it('the environment of a stage is that of its commands, and of the image in the last one', () => {
    const first = meaningOf(twoStages('envs: {A: 1}, commands: [x], cache: {d: /home/shop/d}'));
    const only = meaningOf(
      `${top}stages: [a]\nbuilds: {a: {base: "nodejs:26", envs: {A: 1}, commands: [x]}}\n`,
    );

    expect([first.build, first.envs]).toMatchObject([{ envs: { A: '1' } }, undefined]);
    expect([only.build, only.envs]).toMatchObject([{ envs: { A: '1' } }, { A: '1' }]);
  });

  it('a build that is no stage is not built, and kept', () => {
    const text = twoStages(
      'commands: [x], cache: {d: /home/shop/d}',
      'base: base:12',
      '  other: {base: "a:1"}\n',
    );

    expect(faultsOf(text)[0]).toBe('9:3 warning W002 builds.other: is not among the stages and is not built');
    expect(meaningOf(text).deploy).toEqual({ stages: { other: { base: 'a:1' } } });
  });

  it('a version of a stage is not built, and kept', () => {
    const text = twoStages('version: "1234567", commands: [x], cache: {d: /home/shop/d}');

    expect(meaningOf(text).deploy).toEqual({ stages: { build: { version: '1234567' } } });
    expect(faultsOf(text)[0]).toMatch(
      /^7:31 warning W002 builds\.build\.version: the commit that is pushed is built/,
    );
  });

  const good = 'commands: [x], cache: {d: /home/shop/d}';
  it.each([
    [
      twoStages(`repo: "git@host:team/other.git", ${good}`),
      /^7:31 error E020 builds\.build\.repo: the source of another/,
    ],
    [twoStages(`artifacts: {a: "http://x/a.zip"}, ${good}`), /^7:31 error E020 builds\.build\.artifacts/],
    [twoStages(`submodule: true, ${good}`), /E020 builds\.build\.submodule: submodules are not fetched/],
    [twoStages(`args: {A: b}, ${good}`), /E020 builds\.build\.args: build arguments cannot be given/],
    [twoStages('commands: [x]'), /^7:3 error E020 builds\.build: the stage brings nothing to the last one/],
    [
      twoStages(good, 'base: base:12, commands: [y]'),
      /^8:25 error E020 builds\.pack\.commands: .*\(move them to the stage "build"/,
    ],
    [twoStages(good, 'labels: {a: b}'), /^8:3 error E020 builds\.pack: the stage has no base \(write base:/],
    [
      twoStages('commands: [x], cache: {/usr/d: /home/shop/d}'),
      /E020 builds\.build\.cache\["\/usr\/d"\]: lies outside/,
    ],
    [
      twoStages('commands: [x], cache: {d: /etc/passwd}'),
      /^7:57 error E018 build\.outputs\.d: belongs to the base image/,
    ],
    [
      twoStages(good, 'base: base:12', 'build: make\n'),
      /^9:1 error E020 build: "build" stands beside stages/,
    ],
    [`${top}stages: [a]\n`, /^5:1 error E020 stages: the stages have no builds/],
    [
      `${top}builds: {a: {base: "a:1"}}\n`,
      /^5:1 error E020 builds: the order of the builds is missing \(write stages: \[a\]\)/,
    ],
    [
      `${top}stages: [b]\nbuilds: {a: {base: "a:1"}}\n`,
      /^5:10 error E020 stages\[0\]: there is no build "b" \(there are also: a\)/,
    ],
    [
      `${top}stages: [a, b, c]\nbuilds: {a: {base: "a:1"}, b: {base: "a:1"}, c: {base: "a:1"}}\n`,
      /^5:16 error E020 stages\[2\]: more than two stages cannot be built/,
    ],
  ])('refuses %j with its place', (text, expected) => {
    expect(faultsOf(text).find((fault) => fault.includes(' error '))).toMatch(expected);
  });
});
