import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAppFile } from '../../../builder/appfile/parse-appfile.ts';
import { createAssembler } from '../../../builder/engines/assembler.ts';
import { createDockerEngine, type DockerEngine } from '../../../builder/engines/docker.ts';
import type { BuildPlan } from '../../../builder/plan/plan.ts';
import { planBuild } from '../../../builder/plan/plan-build.ts';
import type { SourceTree } from '../../../builder/plan/source-tree.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { type Digest, parseDigest } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import type { Registry } from '../../../oci/registry.ts';
import { nodeApp, pythonApp } from '../../e2e/chain-apps.ts';
import { startDockerd, type TestDockerd } from '../../helpers/dockerd.ts';
import type { TestImage } from '../../helpers/image.ts';
import { createBusyboxImage, createPlan, createSource, serveImages } from './docker-fixtures.ts';

let dockerd: TestDockerd;
let busybox: TestImage;
let registry: Registry;
let engine: DockerEngine;

beforeAll(async () => {
  dockerd = await startDockerd();
  busybox = await createBusyboxImage();
  registry = await serveImages({ 'baseimages/busybox': busybox });
  const found = await createDockerEngine({
    socket: dockerd.socketPath,
    registry,
    log: createSilentLogger(),
  });
  if (found === undefined) throw new Error(dockerd.output());
  engine = found;
});

afterAll(async () => {
  await engine?.close();
  await dockerd?.stop();
});

const files = {
  'App.yaml': 'appname: app\n',
  'README.md': '# app\n',
  'bin/start.sh': { run: '#!/bin/sh\necho started\n' },
  'lib/grüße.txt': 'ü',
  'lib/deep/er/file.js': 'export {};\n',
  'lib/current': { link: 'deep/er' },
  'lib/deep/other.jar': 'of others',
  'lib/app.jar': 'own',
  'node_modules/a/index.js': 'export {};\n',
  'node_modules/.bin/a': { link: '../a/index.js' },
  'public/logo.png': 'logo',
  'public/site.css': 'a {}\n',
  'a name with spaces "and quotes"': 'x',
  'runtime.sh': { run: '#!/bin/sh\n' },
  '.dockerignore': '*.log\n',
  'debug.log': 'not for the image',
  'test/unit.test.js': 'excluded by source',
};

describe("the assembler's image and the engine's build of the generated Dockerfile are equal", () => {
  it('for an app without build commands, with several roles', async () => {
    const { build: _, ...plan } = richPlan();

    await expectEqualImages(plan, createSource(files));
  });

  // Those whose commands need no compiler and no package from elsewhere; their base is another one here.
  it.each([
    ['the demo', () => readSample('scripts/demo/app')],
    ['the Node app of the chain', () => nodeApp],
    ['the Python app of the chain', () => pythonApp],
  ])('for %s', async (_, sample) => {
    const sources = sample();
    const planned = await planBuild({
      appfile: parseAppFile('App.yaml', Buffer.from(sources['App.yaml'] ?? '')),
      team: 'team',
      resolveBase: async () => richPlan().base,
    });
    if (planned.plan === undefined) throw new Error('the sample has no plan');

    await expectEqualImages(planned.plan, createSource(sources));
  });

  it('for an app whose static script changes what is there, also when the engine runs it itself', async () => {
    const { build: _, ...plan } = richPlan();
    const script = 'mkdir -p made && cp README.md made/ && rm debug.txt && echo more >> lib/app.jar';
    const source = createSource({
      ...files,
      'debug.txt': 'taken away by the script',
      'static.sh': { run: `#!/bin/sh\nset -eu\n${script}\n` },
    });

    for (const engineRuns of [false, true]) {
      await expectEqualImages({ ...plan, staticScript: 'static.sh' }, source, {
        sandboxed: true,
        engineRuns,
      });
    }
  });

  it('for an app whose build commands leave the whole workspace', async () => {
    const plan = richPlan();
    const build = {
      ...plan.build,
      commands: ['mkdir made && date > /dev/null && cp README.md made/', 'chmod 700 made'],
    };

    await expectEqualImages({ ...plan, build } as BuildPlan, createSource(files), { sandboxed: true });
  });

  it('for an app whose build commands declare outputs, also when the engine runs the commands itself', async () => {
    const plan = richPlan();
    const outputs = {
      'dist/app.js': '/home/app/server.js',
      public: '/home/app/www',
      'target/*.txt': '/home/app/texts/',
    };
    const commands = [
      'mkdir -p dist public/img target && echo 1 > dist/app.js',
      'echo 2 > public/img/a.png && ln -s a.png public/img/b.svg && echo 3 > target/x.txt && echo 4 > target/y.bin',
    ];
    const build = { ...plan.build, commands, outputs };

    await expectEqualImages({ ...plan, build } as BuildPlan, createSource(files), { sandboxed: true });
    await expectEqualImages({ ...plan, build } as BuildPlan, createSource(files), {
      sandboxed: true,
      engineRuns: true,
    });
  });
});

it('a failing instruction fails the build with its output in the log', async () => {
  const plan = richPlan();
  const build = { ...plan.build, commands: ['echo before; exit 3'] };
  const lines: string[] = [];
  const input = {
    plan: { ...plan, build } as BuildPlan,
    source: createSource(files),
    annotations: {},
    tags: [],
  };
  const failed: unknown = await engine.dockerfile
    .build(input, { signal: new AbortController().signal, log: (line) => lines.push(line) })
    .catch((error: unknown) => error);

  expect(failed).toBeInstanceOf(JobFailed);
  expect((failed as Error).message).toContain('3');
  expect(lines).toContain('before');
});

/** Something of everything a plan can say. */
function richPlan(): BuildPlan {
  const { plan } = createPlan(busybox.digest, { commands: ['true'] });
  const role = { environment: {}, workingDirectory: '/home/app', user: 'app' as const, ports: [] };
  return {
    ...plan,
    source: { include: ['**'], exclude: ['test/**'] },
    roles: [
      {
        ...role,
        name: 'web',
        command: ['bin/start.sh', 'a b', '$HOME'],
        ports: [
          { port: 8080, protocol: 'tcp', scheme: 'http' },
          { port: 53, protocol: 'udp' },
        ],
        environment: { MODE: 'web "x"' },
      },
      { ...role, name: 'worker', command: ['bin/start.sh'] },
    ],
    environment: { GREETING: 'héllo $USER "quoted" \\ back', EMPTY: '' },
    labels: { 'com.example.team': 'shop "one"', plain: 'x' },
    stopSignal: 'SIGUSR1',
    volumes: ['/home/app/data', '/data', '/var/lib/app', '/tmp'],
    runtimeScript: 'runtime.sh',
  };
}

function readSample(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Object.fromEntries(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [relative(folder, path), readFileSync(path, 'utf8')];
    }),
  );
}

async function expectEqualImages(
  plan: BuildPlan,
  source: SourceTree,
  options: { sandboxed?: boolean; engineRuns?: boolean } = {},
): Promise<void> {
  const context = { signal: new AbortController().signal, log: () => {} };
  const outputs = async (): Promise<object> => {
    const { build: step, staticScript } = plan;
    if (options.sandboxed !== true) return {};
    if (step !== undefined) return { outputs: await engine.sandbox.run({ plan, step, source }, context) };
    if (staticScript === undefined) return {};
    return {
      outputs: await engine.sandbox.runScript({ plan: { ...plan, staticScript }, source }, context),
    };
  };
  const common = { source, annotations: {}, tags: [] };

  const assembled = await createAssembler({ registry }).build(
    { ...common, plan, ...(await outputs()) },
    context,
  );
  if (options.sandboxed === true) {
    // Made once more, for a registry that has seen nothing: other times, another order on the container's disk, the same digest.
    const empty = await serveImages({ 'baseimages/busybox': busybox });
    const again = await createAssembler({ registry: empty }).build(
      { ...common, plan, ...(await outputs()) },
      context,
    );
    expect(again.manifest.digest).toBe(assembled.manifest.digest);
  }
  const other = { ...plan, repository: 'team/by-docker' };
  const built = await engine.dockerfile.build(
    { ...common, plan: other, ...(options.engineRuns === true ? {} : await outputs()) },
    context,
  );

  const [own, engines] = [
    await readImage(plan.repository, assembled.manifest.digest),
    await readImage(other.repository, built.manifest.digest),
  ];
  expect(Object.fromEntries(engines.files)).toEqual(Object.fromEntries(own.files));
  expect(engines.config).toEqual(own.config);
  expect(own.files.size).toBeGreaterThan(20);
  expect(built.mountedLayers).toBe(1);
}

/** What a container would see: files of all layers laid over one another, and the parts of the config that matter at run time. */
async function readImage(
  repository: string,
  digest: Digest,
): Promise<{ files: Map<string, string>; config: object }> {
  const manifest = JSON.parse((await registry.getManifest(repository, digest)).bytes.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  const files = new Map<string, string>();
  for (const layer of manifest.layers) {
    const tar = gunzipSync(await readBlob(repository, layer.digest));
    for await (const { entry, body } of readTar(Readable.from([tar]))) {
      const hash = createHash('sha256');
      for await (const chunk of body) hash.update(chunk);
      const path = entry.path.replace(/^\.\//, '').replace(/\/$/, '');
      if (path.split('/').some((part) => part.startsWith('.wh.'))) throw new Error(`whiteout ${path}`);
      const content = entry.type === 'file' ? hash.digest('hex') : '';
      files.set(
        Buffer.from(path, 'latin1').toString(),
        `${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${entry.target}${content}`,
      );
    }
  }
  const { config } = JSON.parse((await readBlob(repository, manifest.config.digest)).toString()) as {
    config: Record<string, unknown>;
  };
  const { Env, Entrypoint, Cmd, User, WorkingDir, Labels, ExposedPorts, StopSignal, Volumes } = config;
  return {
    files,
    // The engine writes null where there is nothing.
    config: {
      Env,
      Entrypoint,
      Cmd,
      User,
      WorkingDir,
      Labels,
      ExposedPorts,
      StopSignal,
      Volumes: Volumes ?? undefined,
    },
  };
}

async function readBlob(repository: string, digest: string): Promise<Buffer> {
  const { body } = await registry.getBlob(repository, parseDigest(digest));
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
