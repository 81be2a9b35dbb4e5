import { describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { initText, proposeAppFile } from '../../../../builder/appfile/propose.ts';

function propose(files: Record<string, string>, name = 'my-shop') {
  return proposeAppFile({ names: Object.keys(files), read: (file) => files[file] }, name);
}

const manifest = (value: unknown): string => JSON.stringify(value);

describe('proposeAppFile', () => {
  it.each<[string, Record<string, string>, RegExp]>([
    [
      'a Node project that starts by node',
      { 'package.json': manifest({ scripts: { start: 'node server.js --port 80' } }) },
      /cmd: node server.js --port 80|cmd: "node server.js --port 80"/,
    ],
    [
      'a Node project whose start needs a shell',
      { 'package.json': manifest({ scripts: { start: 'PORT=1 next start' } }) },
      /shell: .*next start/,
    ],
    [
      'a Node project with a main',
      { 'package.json': manifest({ main: 'lib/index.js' }) },
      /commands: \[node, lib\/index.js\]/,
    ],
    [
      'a Node project with dependencies',
      {
        'package.json': manifest({ dependencies: { a: '1' }, scripts: { build: 'tsc' } }),
        'package-lock.json': '',
      },
      /- npm ci\n {2}- npm run build/,
    ],
    ['a lone server.js', { 'server.js': '' }, /commands: \[node, server.js\]/],
    ['a broken package.json', { 'package.json': '{', 'index.js': '' }, /commands: \[node, index.js\]/],
    [
      'a package.json with hostile text',
      { 'package.json': manifest({ main: 'x"\n  evil: {}', scripts: { start: 'a\nb' } }) },
      /commands: \[node, server.js\]/,
    ],
    ['a Maven project', { 'pom.xml': '' }, /target\/\*\.jar/],
    ['a Gradle project', { 'build.gradle.kts': '' }, /build\/libs/],
    ['a war', { 'shop 1.war': '' }, /include: \[shop 1.war\](?:.*\n)*.*WEBAPPS: \/home\/my-shop/],
    ['a jar', { "it's.jar": '' }, /java, -jar, "it's.jar"/],
    ['a Python project', { 'requirements.txt': '', 'app.py': '' }, /cmd: python3 app.py/],
    ['a static site', { 'index.html': '' }, /base: static:1 .*\n(?:.*\n)*.*cmd: static-server/],
    ['anything else', { README: '' }, /write the command that starts your program here/],
    ['nothing at all', {}, /base: base:12/],
  ])('for %s lints clean', (_name, files, expected) => {
    const { text } = propose(files);

    expect(text).toMatch(expected);
    expect(parseAppFile('App.yaml', text).faults).toEqual([]);
  });

  it.each([
    ['My Shop (2)', 'my-shop-2'],
    ['1st', 'st'],
    ['root', 'root-app'],
    ['店', 'my-app'],
    ['x'.repeat(50), 'x'.repeat(32)],
    [`${'x'.repeat(31)} y`, 'x'.repeat(31)],
  ])('makes a name from the directory %j', (directory, expected) => {
    expect(propose({}, directory).text).toContain(`appname: ${expected}\n`);
    expect(parseAppFile('App.yaml', propose({}, directory).text).faults).toEqual([]);
  });

  it('is what a push without App.yaml prints', () => {
    expect(initText(propose({ 'server.js': '' }))).toMatch(
      /^This project has no App.yaml.*\n\nappname: my-shop\n/,
    );
  });
});
