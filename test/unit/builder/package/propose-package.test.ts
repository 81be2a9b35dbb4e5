import { describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../../builder/appfile/parse-appfile.ts';
import { type PackageName, parsePackageName } from '../../../../builder/package/package-name.ts';
import { type PackageHints, proposePackage } from '../../../../builder/package/propose-package.ts';

function propose(
  file: string,
  more: { hints?: PackageHints; texts?: Record<string, string>; names?: string[] } = {},
): { text?: string; refused?: string } {
  return proposePackage({
    name: parsePackageName(file) as PackageName,
    app: 'shop',
    names: more.names ?? Object.keys(more.texts ?? {}),
    read: (name) => more.texts?.[name],
    hints: more.hints ?? {},
  });
}

/** The proposal as App.yaml's own parser reads it. */
function appfile(...args: Parameters<typeof propose>): unknown {
  const { text = '' } = propose(...args);
  const parsed = parseAppFile('App.yaml', text);
  expect(parsed.faults).toEqual([]);
  return parsed.appfile;
}

const web = (command: object, port = '8080/http'): object => ({ web: { ...command, ports: [port] } });

describe('an App.yaml for a package that brings none', () => {
  it('starts a .war in Tomcat, or in Resin when that is the base', () => {
    expect(appfile('shop-1.2.war')).toEqual({
      appname: 'shop',
      base: 'tomcat:10',
      entrypoints: web({ cmd: 'tomcat' }),
    });
    expect(appfile('shop.war', { hints: { base: 'resin:4' } })).toMatchObject({
      base: 'resin:4',
      entrypoints: web({ cmd: 'resin' }),
    });
  });

  it('tells Tomcat and Resin where to listen', () => {
    expect(
      appfile('shop.war', { hints: { port: 9000, base: 'example.com:5000/x/tomcat:10' } }),
    ).toMatchObject({
      entrypoints: web({ cmd: 'tomcat', env: { HTTP_PORT: '9000' } }, '9000/http'),
    });
  });

  it('serves a package of files with an index.html', () => {
    expect(appfile('site.zip', { names: ['index.html', 'logo.png'] })).toEqual({
      appname: 'shop',
      base: 'static:1',
      entrypoints: web({ cmd: 'static-server' }),
    });
  });

  it('asks for the command of a server that it does not know', () => {
    const hints = { base: 'registry.example.com/jetty:12' };

    expect(propose('shop.war', { hints }).refused).toContain('(--command)');
    expect(appfile('shop.war', { hints: { ...hints, command: 'jetty.sh run', port: 9000 } })).toEqual({
      appname: 'shop',
      base: 'registry.example.com/jetty:12',
      entrypoints: web({ cmd: 'jetty.sh run' }, '9000/http'),
    });
  });

  it('starts a .jar that names its main class', () => {
    const texts = { 'META-INF/MANIFEST.MF': 'Manifest-Version: 1.0\r\nMain-Class: shop.Main\r\n' };

    expect(appfile('shop 1.2.jar', { texts })).toEqual({
      appname: 'shop',
      base: 'jdk:17',
      entrypoints: web({ commands: ['java', '-jar', 'shop 1.2.jar'] }),
    });
  });

  it('refuses a .jar that names none, unless its command is told', () => {
    expect(propose('lib.jar').refused).toContain('names no Main-Class');
    expect(appfile('lib.jar', { hints: { command: 'java -cp lib.jar shop.Main "$@"' } })).toMatchObject({
      entrypoints: web({ shell: 'java -cp lib.jar shop.Main "$@"' }),
    });
  });

  it('starts a Node.js package, and builds nothing when it brings its dependencies', () => {
    const manifest = JSON.stringify({
      scripts: { start: 'node server.js', build: 'tsc' },
      dependencies: { a: '1' },
    });
    const texts = { 'package.json': manifest };

    expect(appfile('shop.tgz', { texts, names: ['package.json', 'node_modules'] })).toEqual({
      appname: 'shop',
      base: 'nodejs:26',
      entrypoints: web({ cmd: 'node server.js' }),
    });
    expect(appfile('shop.tgz', { texts })).toMatchObject({ build: ['npm install'] });
  });

  it('takes base and command for anything else, and shows what to write when they are not told', () => {
    const hints = { base: 'base:12', command: './run' };

    expect(appfile('tool.zip', { hints })).toMatchObject({
      base: 'base:12',
      entrypoints: web({ cmd: './run' }),
    });
    expect(propose('tool.zip', { names: ['run'] }).refused).toMatch(
      /holds no App\.yaml\. .*--app.*\n\nappname: shop\n/s,
    );
    expect(propose('tool.zip', { hints: { base: 'base:12' } }).refused).toContain(
      'both --base and --command are needed',
    );
  });
});
