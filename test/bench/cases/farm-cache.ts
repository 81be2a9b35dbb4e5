import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { baseImageCache, buildBaseImages } from '../../../builder/catalog/build-base-images.ts';
import { createDockerEngine } from '../../../builder/engines/docker.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { startDockerd, type TestDockerd } from '../../helpers/dockerd.ts';
import { createFilesystem } from '../../helpers/filesystem.ts';
import { runOk } from '../../helpers/process.ts';
import { median } from '../measure.ts';
import { startBrickyard } from '../peers.ts';

export interface FarmCacheOptions {
  /** `farm-cache`: both apps; `farm-cache-npm`, `farm-cache-maven`: one of them. */
  readonly selected: ReadonlySet<string>;
  readonly scratch: string;
  readonly pairs: number;
  readonly say: (line: string) => void;
}

interface Upstream {
  readonly url: string;
  /** Requests for packages so far. */
  asked(): number;
  close(): Promise<void>;
}

interface SampleApp {
  readonly name: string;
  /** Of the catalog. */
  readonly bases: readonly string[];
  readonly files: (appname: string) => Promise<Readonly<Record<string, string>>>;
}

const root = resolve(import.meta.dirname, '../../..');

/**
 * Real npm and Maven apps, whose packages come from where this machine's own programs take them: seconds of the first build, and of one after a change of the source on a worker
 * that has nothing on its disk. The engine has a file system of its own, as a worker's would be: an ext4 without a journal, where the other things of this machine may lie, is twenty
 * times as slow at making 20,000 files once as many were removed there (`recently_deleted` of the kernel's fs/ext4/ialloc.c). Returns a table in Markdown.
 */
export async function farmCache({ selected, scratch, pairs, say }: FarmCacheOptions): Promise<string> {
  await using storage = await createFilesystem(16 * 1024 ** 3);
  const engine = await startDockerd({ storage: storage.path });
  // The builds' proxy reaches it there; builds themselves have a loopback of their own.
  const bridge = ['network', 'inspect', 'bridge', '--format={{(index .IPAM.Config 0).Gateway}}'];
  const upstream = await relay((await runOk('docker', bridge, { env: engine.env })).trim());
  const server = await startBrickyard(scratch, {
    BRICKYARD_BUILDER_ENGINE: engine.socketPath,
    BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM: `${upstream.url}npm/`,
    BRICKYARD_BUILDER_SANDBOX_MIRRORS_MAVEN: `${upstream.url}maven/`,
  });
  try {
    say('base images with npm and Maven …');
    const apps = [npmApp, mavenApp].filter(
      ({ name }) => selected.has('farm-cache') || selected.has(`farm-cache-${name}`),
    );
    await buildBases(
      engine,
      server.url,
      apps.flatMap(({ bases }) => bases),
    );
    const rows: string[] = [];
    for (const app of apps) {
      const first: number[] = [];
      const again: number[] = [];
      let asked = 0;
      for (let round = 1; round <= pairs; round++) {
        const appname = `${app.name}-${round}`;
        const folder = join(scratch, appname);
        await writeFiles(folder, await app.files(appname));
        const push = async (): Promise<number> => {
          await runOk('git', ['add', '--all'], { cwd: folder });
          await runOk('git', [...identity, 'commit', '--quiet', '--message', 'x'], { cwd: folder });
          // What a worker that never saw this application does not have either.
          await rm(join(server.data, 'cache/git/repositories'), { recursive: true, force: true });
          const begun = performance.now();
          const address = `${server.url}/git/bench/${appname}.git`;
          const log = await runOk('sh', ['-c', 'git push "$0" main 2>&1', address], {
            cwd: folder,
            timeoutMs: 600_000,
          });
          if (!log.includes('built in')) throw new Error(log);
          const seconds = (performance.now() - begun) / 1000;
          for (const line of log.split('\n')) if (/cache |✓/.test(line)) say(line.trimEnd());
          return seconds;
        };
        await runOk('git', ['init', '--quiet', '--initial-branch=main'], { cwd: folder });
        first.push(await push());
        await writeFile(join(folder, 'README.md'), `changed ${round}\n`);
        const before = upstream.asked();
        again.push(await push());
        asked += upstream.asked() - before;
        say(`  ${appname}: ${first.at(-1)?.toFixed(1)} s, then ${again.at(-1)?.toFixed(1)} s`);
      }
      const ratio = median(again) / median(first);
      rows.push(
        `| ${app.name} | ${median(first).toFixed(1)} | ${median(again).toFixed(1)} | ${ratio.toFixed(2)}× | ${asked} | ≤ 0.5× |`,
      );
    }
    return [
      `**A build on a cold worker, lockfile unchanged** (Node ${process.versions.node}, ${cpus().length} cores, ${pairs} rounds, medians)`,
      '',
      '| | first build, seconds | second | ratio | packages fetched again | promise |',
      '|---|---|---|---|---|---|',
      ...rows,
    ].join('\n');
  } finally {
    await upstream.close();
    await server.stop();
    await engine.stop();
  }
}

const identity = ['-c', 'user.name=Bench', '-c', 'user.email=bench@localhost'];

/** A server with the usual tools of one: about 400 packages. */
const npmApp: SampleApp = {
  name: 'npm',
  bases: ['nodejs:26'],
  async files(appname) {
    const manifest = {
      name: appname,
      version: '1.0.0',
      dependencies: { express: '^4.21.0', lodash: '^4.17.21', typescript: '^5.6.0' },
      devDependencies: { webpack: '^5.95.0', jest: '^29.7.0' },
    };
    return {
      'App.yaml': `appname: ${appname}
base: nodejs:26
build:
  cache: [node_modules, ~/.npm]
  commands: [npm install --no-audit --no-fund --ignore-scripts, "node -e \\"require('express')\\""]
  outputs: { server.js: /home/${appname}/server.js }
entrypoints:
  web: { cmd: node server.js }
`,
      'server.js': "require('express')().listen(8080);\n",
      'package.json': JSON.stringify(manifest),
      'package-lock.json': await lockOf(manifest),
    };
  },
};

async function lockOf(manifest: object): Promise<string> {
  const folder = join(root, '.brickyard/farm-cache-lock');
  await mkdir(folder, { recursive: true });
  try {
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
    await runOk('npm', ['install', '--package-lock-only', '--ignore-scripts', '--no-audit'], {
      cwd: folder,
      timeoutMs: 300_000,
    });
    return await readFile(join(folder, 'package-lock.json'), 'utf8');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A library with a test, as Maven's own quick start makes it: the plug-ins are most of what is fetched. */
const mavenApp: SampleApp = {
  name: 'maven',
  bases: ['jdk:17', 'jdk-build:17'],
  files: async (appname) => ({
    'App.yaml': `appname: ${appname}
base: jdk:17
build:
  base: jdk-build:17
  commands: [mvn --batch-mode --quiet package]
  outputs: { "target/*.jar": /home/${appname}/lib/ }
entrypoints:
  web: { cmd: java -cp lib/* shop.Main }
`,
    'pom.xml': `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shop</groupId><artifactId>${appname}</artifactId><version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source>
    <maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency><groupId>com.google.guava</groupId><artifactId>guava</artifactId><version>33.3.1-jre</version></dependency>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>2.18.1</version></dependency>
    <dependency><groupId>org.springframework</groupId><artifactId>spring-webmvc</artifactId><version>6.1.14</version></dependency>
    <dependency><groupId>org.junit.jupiter</groupId><artifactId>junit-jupiter</artifactId><version>5.11.3</version><scope>test</scope></dependency>
  </dependencies>
  <build><plugins>
    <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.13.0</version></plugin>
    <plugin><artifactId>maven-surefire-plugin</artifactId><version>3.5.1</version></plugin>
  </plugins></build>
</project>
`,
    'src/main/java/shop/Main.java':
      'package shop;\n\npublic class Main {\n  public static void main(String[] arguments) {\n    System.out.println(com.google.common.base.Joiner.on(" ").join(arguments));\n  }\n}\n',
    'src/test/java/shop/MainTest.java':
      'package shop;\n\nclass MainTest {\n  @org.junit.jupiter.api.Test\n  void runs() {\n    Main.main(new String[] {"x"});\n  }\n}\n',
  }),
};

async function buildBases(engine: TestDockerd, url: string, names: readonly string[]): Promise<void> {
  const registry = createRegistryClient({ url });
  const { socketPath: socket } = engine;
  const docker = await createDockerEngine({ socket, registry, log: createSilentLogger() });
  if (docker === undefined) throw new Error(engine.output());
  try {
    await buildBaseImages({
      catalogDir: join(root, 'baseimages'),
      names,
      registry,
      cacheDir: baseImageCache(join(homedir(), '.cache/brickyard')),
      sandbox: async () => docker.levels,
    });
  } finally {
    await docker.close();
    registry.close();
  }
}

/**
 * `/npm/` and `/maven/` as this machine's npm and Maven have them, through which the requests of builds go: each is handed on to the real place, so
 * its delay is the real one.
 */
async function relay(host: string): Promise<Upstream> {
  const places = { npm: await npmRegistry(), maven: await mavenCentral() } as const;
  let asked = 0;
  const server = createServer((request, response) => {
    const [, place = '', path = ''] = /^\/(npm|maven)\/(.*)$/.exec(request.url ?? '') ?? [];
    const answer = async (): Promise<void> => {
      if (place !== 'npm' && place !== 'maven') return void response.writeHead(404).end();
      if (/\.(?:tgz|jar|pom)$/.test(path)) asked += 1;
      const found = await fetch(places[place] + path, {
        headers: place === 'npm' ? { accept: request.headers.accept ?? '*/*' } : {},
      });
      const type = found.headers.get('content-type') ?? 'application/octet-stream';
      if (place === 'npm' && type.includes('json')) {
        // Addresses of archives lead here too.
        const text = (await found.text()).replaceAll(places.npm, `http://${request.headers.host}/npm/`);
        return void response.writeHead(found.status, { 'content-type': type }).end(text);
      }
      response.writeHead(found.status, { 'content-type': type });
      if (found.body === null) response.end();
      else await pipeline(Readable.fromWeb(found.body), response);
    };
    answer().catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((done, reject) => {
    server.once('error', reject);
    server.listen(0, host, done);
  });
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/`,
    asked: () => asked,
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function npmRegistry(): Promise<string> {
  const address = (await runOk('npm', ['config', 'get', 'registry'], { cwd: root })).trim();
  return address.endsWith('/') ? address : `${address}/`;
}

/** The one that Maven itself has built in, in the model that all projects inherit. */
async function mavenCentral(): Promise<string> {
  const model =
    'unzip -p /usr/share/maven/lib/maven-model-builder-*.jar org/apache/maven/model/pom-4.0.0.xml';
  const address = /<url>([^<]+)<\/url>/.exec(await runOk('sh', ['-c', model]))?.[1];
  if (address === undefined) throw new Error('Maven has no repository built in; run `npm run setup`');
  return `${address}/`;
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}
