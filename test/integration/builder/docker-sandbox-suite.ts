import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tarEnd, tarFile } from '../../../builder/engines/docker/tar-file.ts';
import { createDockerEngine, type DockerEngine } from '../../../builder/engines/docker.ts';
import type { SandboxInput, TestArtifact } from '../../../builder/engines/engine.ts';
import type { BuildStep, TestStep } from '../../../builder/plan/plan.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { readTar, type TarEntry } from '../../../oci/layer/tar-reader.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { TestImage } from '../../helpers/image.ts';
import { run, runOk, waitFor } from '../../helpers/process.ts';
import { createBusyboxImage, createPlan, createSource, serveImages } from './docker-fixtures.ts';

type Files = Parameters<typeof createSource>[0];

/** A container engine that runs for one test file. */
export interface TestContainerEngine {
  readonly socketPath: string;
  /** For the `docker` program. */
  readonly env: Readonly<Record<string, string>>;
  output(): string;
  stop(): Promise<void>;
}

/** What a sandbox keeps, whichever container engine is below it. */
export function sandboxSuite(start: () => Promise<TestContainerEngine>): void {
  let container: TestContainerEngine;
  let busybox: TestImage;
  let registry: Registry;
  let engine: DockerEngine;
  let lines: string[];

  beforeAll(async () => {
    container = await start();
    busybox = await createBusyboxImage();
    registry = await serveImages({ 'baseimages/busybox': busybox });
    engine = await createEngine();
  });

  afterAll(async () => {
    await container?.stop();
  });

  beforeEach(() => {
    lines = [];
  });

  afterEach(async () => {
    await engine.close();
    const left = await runOk('docker', ['ps', '--all', '--quiet'], { env: container.env });
    const volumes = await runOk('docker', ['volume', 'ls', '--quiet'], { env: container.env });
    expect(left + volumes).toBe('');
  });

  describe('outputs', () => {
    it('a build command sees the source and its declared output comes out at its place in the image', async () => {
      const made = await build(
        {
          commands: ['cat in.txt > out.txt', 'mkdir -p dist/deep && cp run.sh dist/deep/'],
          outputs: { 'out.txt': '/home/app/got.txt', dist: '/srv/www' },
        },
        { 'in.txt': 'hello', 'run.sh': { run: '#!/bin/sh\n' } },
      );

      expect(summary(made)).toEqual([
        'directory 755 0 srv/www',
        'directory 755 0 srv/www/deep',
        'file 755 0 srv/www/deep/run.sh "#!/bin/sh\\n"',
        'file 644 10001 home/app/got.txt "hello"',
      ]);
      expect(lines).toContain('$ cat in.txt > out.txt');
    });

    it('without outputs the whole workspace comes out, links kept and names of any bytes', async () => {
      const made = await build(
        { commands: [`printf x > "$(printf 'caf\\351')"`, 'ln -s in.txt link', 'ln in.txt hard'] },
        { 'in.txt': 'hello', 'lib/grüße.txt': 'ü' },
      );

      expect(summary(made)).toEqual([
        'file 644 10001 home/app/caf\xe9 "x"',
        'file 644 10001 home/app/hard "hello"',
        'file 644 10001 home/app/in.txt "hello"',
        'directory 755 10001 home/app/lib',
        `file 644 10001 home/app/${Buffer.from('lib/grüße.txt').toString('latin1')} "ü"`,
        'symlink 777 10001 home/app/link -> in.txt',
      ]);
    });

    it('a glob takes what it matches and setuid bits stay behind', async () => {
      const made = await build({
        commands: ['mkdir target && touch target/a.jar target/b.jar target/c.txt && chmod 6755 target/a.jar'],
        outputs: { 'target/*.jar': '/home/app/lib/' },
      });

      expect(summary(made)).toEqual([
        'file 755 10001 home/app/lib/a.jar ""',
        'file 644 10001 home/app/lib/b.jar ""',
      ]);
    });

    it.each([
      [
        'a missing output',
        { commands: ['true'], outputs: { 'dist/app.jar': '/home/app/app.jar' } },
        'output "dist/app.jar" is missing',
      ],
      [
        'an output that is a symbolic link',
        { commands: ['ln -s /etc/passwd out'], outputs: { out: '/home/app/out' } },
        'output "out" is a symbolic link to "/etc/passwd"',
      ],
      [
        'an output that is a pipe',
        { commands: ['mkfifo out'], outputs: { out: '/home/app/out' } },
        'output "out" is a fifo',
      ],
      ['a whiteout', { commands: ['mkdir o && touch o/.wh.etc'], outputs: { o: '/home/app' } }, '".wh."'],
      [
        'outputs at one place',
        { commands: ['mkdir a b && touch a/x b/x'], outputs: { a: '/home/app', b: '/home/app' } },
        'would overwrite another output at "/home/app/x"',
      ],
      [
        'an output below a link',
        {
          commands: ['mkdir a && ln -s /bin a/x && touch y'],
          outputs: { a: '/home/app', y: '/home/app/x/sh' },
        },
        'which is a symlink',
      ],
    ])('%s fails the build', async (_, step, message) => {
      const failed: unknown = await build(step).catch((error: unknown) => error);

      expect(failed).toBeInstanceOf(JobFailed);
      expect((failed as Error).message).toContain(message);
    });

    it('outputs over the limits fail the build', async () => {
      const small = await createEngine({ outputs: { entries: 3, bytes: 1000 } });
      const { plan, step } = createPlan(busybox.digest, {
        commands: ['for i in 1 2 3 4; do touch $i; done'],
      });
      const many = small.sandbox.run({ plan, step, source: createSource({}) }, context());

      await expect(many).rejects.toThrow('more than 3 entries');

      const large = small.sandbox.run(
        {
          plan,
          step: { ...step, commands: ['dd if=/dev/zero of=x bs=2000 count=1'] },
          source: createSource({}),
        },
        context(),
      );

      await expect(large).rejects.toThrow('more than 1000 bytes');
      await small.close();
    });
  });

  describe('tests', () => {
    it('run over what the build left, and nothing that they change enters the image', async () => {
      const made = await build(
        {
          commands: ['cat in.txt > out.txt', 'touch "$HOME/fetched"'],
          outputs: { 'out.txt': '/home/app/got.txt' },
        },
        { 'in.txt': 'hello' },
        {
          test: {
            commands: ['test -f "$HOME/fetched" && cat out.txt in.txt', 'echo broken > out.txt'],
          },
        },
      );

      expect(summary(made)).toEqual(['file 644 10001 home/app/got.txt "hello"']);
      expect(lines).toEqual(expect.arrayContaining(['$ echo broken > out.txt', 'hellohello']));
    });

    it('run over the source where nothing is built, and keep their artifacts also when one fails', async () => {
      const kept: TestArtifact[] = [];
      const failed = build(
        undefined,
        { 'in.txt': 'hello' },
        {
          test: {
            commands: [
              'mkdir -p target/reports && cp in.txt target/reports/a.xml && ln -s /etc/passwd target/reports/b.xml',
              'exit 3',
            ],
            artifacts: ['target/reports/*.xml', 'nothing/*'],
          },
          keep: async (artifacts) => void kept.push(...artifacts),
        },
      );

      await expect(failed).rejects.toThrow('test command 2 of 2 ended with exit code 3');
      expect(kept).toEqual([{ path: 'target/reports/a.xml', content: Buffer.from('hello') }]);
      expect(lines).toContain('no file fits the artifact "nothing/*"');
    });
  });

  describe('the static script', () => {
    const script = {
      run: '#!/bin/sh\nset -e\nid -u > who\nls /sys/class/net > net\nsed "s/NAME/$APP_NAME $COLOR/" < page.txt > page.html\nrm old.txt\ncat made.txt >> page.html\nprintf done\n',
    };

    it('works on source and outputs as they will be in the image, and what it leaves is the image', async () => {
      const outputs = Readable.from([...(await archiveOf('home/app/made.txt', 'made')), tarEnd()]);

      const made = await runScript(
        { 'page.txt': 'I am NAME.', 'old.txt': 'x', 'bin/static.sh': script },
        outputs,
      );

      expect(summary(made)).toEqual([
        'directory 755 10001 home/app/bin',
        `file 755 10001 home/app/bin/static.sh ${JSON.stringify(script.run)}`,
        'file 644 10001 home/app/made.txt "made"',
        'file 644 10001 home/app/net "lo\\n"',
        'file 644 10001 home/app/page.html "I am app green.made"',
        'file 644 10001 home/app/page.txt "I am NAME."',
        'file 644 10001 home/app/who "10001\\n"',
      ]);
    });

    it('fails the build by its exit code', async () => {
      const failing = runScript({ 'bin/static.sh': { run: '#!/bin/sh\nexit 4\n' } });

      await expect(failing).rejects.toThrow('the static script ended with exit code 4');
    });
  });

  describe('walls', () => {
    it('a build is an ordinary user without capabilities on a read-only root without network', async () => {
      const made = await build({
        commands: [
          'id -u > id; id -g >> id',
          "sed -n 's/^CapEff:.//p; s/^CapBnd:.//p; s/^NoNewPrivs:.//p' /proc/self/status > caps",
          '(touch /bin/x || echo read-only) > root 2>/dev/null',
          'ls /sys/class/net > net',
          'touch /tmp/x && pwd > where',
          'ls /var/run/docker.sock >socket 2>/dev/null || true',
        ],
      });

      const text = Object.fromEntries(made.map(({ entry, body }) => [entry.path.slice(9), body]));
      expect(text).toEqual({
        id: '10001\n10001\n',
        caps: '0000000000000000\n0000000000000000\n1\n',
        root: 'read-only\n',
        net: 'lo\n',
        where: '/home/app\n',
        socket: '',
      });
    });

    it('network: open gives the container a proxy on loopback and no other network', async () => {
      const request =
        "(printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 1) | /bin/busybox nc -w 3 127.0.0.1 15128";
      const made = await build({
        commands: [`${request} | head -n 1 > answer`, 'ls /sys/class/net > net'],
        network: 'open',
      });

      expect(made.map(({ body }) => body)).toEqual(['HTTP/1.1 400 Bad Request\r\n', 'lo\n']);
    });

    it('a failing command is named with its exit code and no later one runs', async () => {
      const failed = build({ commands: ['echo one', 'echo two; exit 7', 'echo three'] });

      await expect(failed).rejects.toThrow('build command 2 of 3 ended with exit code 7');
      expect(lines).toEqual(expect.arrayContaining(['$ echo one', 'one', '$ echo two; exit 7', 'two']));
      expect(lines).not.toContain('three');
    });

    it('a command that takes too long is killed with all it started', async () => {
      const began = Date.now();
      const late = build({ commands: ["trap '' TERM; (sleep 300 &) ; sleep 300"], timeoutSeconds: 1 });

      await expect(late).rejects.toThrow('took longer than 1 s');
      expect(Date.now() - began).toBeLessThan(20_000);
    });

    it('a command that needs too much memory is killed and the message says so', async () => {
      const small = await createEngine({ memory: 32 * 1024 ** 2 });
      const { plan, step } = createPlan(busybox.digest, {
        commands: ['dd if=/dev/zero of=/tmp/x bs=1M count=100'],
      });
      const hungry = small.sandbox.run({ plan, step, source: createSource({}) }, context());

      await expect(hungry).rejects.toThrow(
        /needed more than the 32 MiB of memory|killed by signal 9.*32 MiB/,
      );
      await small.close();
    });

    it('a fork bomb ends and harms nobody', async () => {
      const bomb = build({
        commands: [
          'b() { b | b & }; b; sleep 1; i=0; while [ $i -lt 600 ]; do sleep 100 & i=$((i+1)); done; wait',
        ],
        timeoutSeconds: 10,
      });

      await expect(bomb).rejects.toBeInstanceOf(JobFailed);
    });

    it('endless output is cut off', async () => {
      const small = await createEngine({ output: 100 * 1024 });
      const { plan, step } = createPlan(busybox.digest, { commands: ['yes'] });
      const endless = small.sandbox.run({ plan, step, source: createSource({}) }, context());

      await expect(endless).rejects.toThrow('more than 100 KiB of output (builder.sandbox.output)');
      await small.close();
    });

    it('a line without end is cut into parts and nothing of it is lost', async () => {
      await build({
        commands: ["dd if=/dev/zero bs=1000 count=100 2>/dev/null | tr '\\0' x; echo; echo end >&2"],
      });

      const long = lines.filter((line) => /^x+$/.test(line));
      expect(long.join('')).toHaveLength(100_000);
      expect(Math.max(...long.map((line) => line.length))).toBeLessThanOrEqual(32_768);
      expect(lines).toContain('end');
    });

    it('a file over the limit cannot be written', async () => {
      const small = await createEngine({ fileSize: 1_000_000 });
      const { plan, step } = createPlan(busybox.digest, {
        commands: ['dd if=/dev/zero of=big bs=1M count=20'],
      });
      const large = small.sandbox.run({ plan, step, source: createSource({}) }, context());

      await expect(large).rejects.toThrow('build command 1 of 1 ended with exit code');
      await small.close();
    });

    it('a process that a command leaves behind does not hold the build', async () => {
      const began = Date.now();
      const made = await build({ commands: ['(trap "" TERM HUP; sleep 300) & echo done > out'] });

      expect(made.map(({ body }) => body)).toEqual(['done\n']);
      expect(Date.now() - began).toBeLessThan(20_000);
    });

    it('an aborted build is killed and fails with the reason of the abort', async () => {
      const controller = new AbortController();
      const aborted = build({ commands: ['echo begun; sleep 300'] }, {}, { signal: controller.signal });
      aborted.catch(() => {});
      await waitFor(() => lines.includes('begun'), { what: 'the build' });

      controller.abort(new Error('cancelled by alice'));

      await expect(aborted).rejects.toThrow('cancelled by alice');
    });
  });

  describe('the engine', () => {
    it('loads a base image once', async () => {
      await build({ commands: ['true'] });
      const fresh = await createEngine();
      const { plan, step } = createPlan(busybox.digest, { commands: ['true'] });

      const outputs = await fresh.sandbox.run({ plan, step, source: createSource({}) }, context());
      outputs.destroy();
      await fresh.close();

      expect(lines.join('\n')).not.toContain('loading base image');
    });

    it('what a killed server left behind is removed at the next start, what a living one uses is not', async () => {
      const dead = spawn('true');
      await once(dead, 'exit');
      const { hostname } = await import('node:os');
      const deadline = String(Math.ceil(Date.now() / 1000) + 3600);
      const label = (pid: number | undefined, until: string): string[] => [
        '--label',
        `dev.brickyard.sandbox.owner=${hostname()} ${pid} 1`,
        '--label',
        `dev.brickyard.sandbox.deadline=${until}`,
      ];
      await runOk('docker', ['volume', 'create', ...label(dead.pid, deadline), 'orphan'], {
        env: container.env,
      });
      await runOk(
        'docker',
        [
          'volume',
          'create',
          '--label',
          `dev.brickyard.sandbox.owner=elsewhere 1 1`,
          '--label',
          `dev.brickyard.sandbox.deadline=${deadline}`,
          'used',
        ],
        { env: container.env },
      );
      await runOk(
        'docker',
        [
          'volume',
          'create',
          '--label',
          'dev.brickyard.sandbox.owner=elsewhere 1 1',
          '--label',
          'dev.brickyard.sandbox.deadline=1',
          'late',
        ],
        { env: container.env },
      );

      await createEngine();

      expect(await runOk('docker', ['volume', 'ls', '--quiet'], { env: container.env })).toBe('used\n');
      await run('docker', ['volume', 'rm', 'used'], { env: container.env });
    });

    it('there is none where no socket answers', async () => {
      const none = createDockerEngine({ socket: '/nowhere.sock', registry, log: createSilentLogger() });

      expect(await none).toBeUndefined();
    });
  });

  async function createEngine(limits: object = {}): Promise<DockerEngine> {
    const made = await createDockerEngine({
      socket: 'auto',
      environment: { DOCKER_HOST: `unix://${container.socketPath}` },
      registry,
      log: createSilentLogger(),
      limits,
    });
    if (made === undefined) throw new Error(container.output());
    return made;
  }

  function context(signal = new AbortController().signal): {
    signal: AbortSignal;
    log: (line: string) => void;
  } {
    return { signal, log: (line) => lines.push(line) };
  }

  async function build(
    wanted: (Partial<BuildStep> & Pick<BuildStep, 'commands'>) | undefined,
    files: Files = {},
    options: {
      signal?: AbortSignal;
      test?: Partial<TestStep> & Pick<TestStep, 'commands'>;
      keep?: SandboxInput['keep'];
    } = {},
  ): Promise<{ entry: TarEntry; body: string }[]> {
    const { plan, step } = createPlan(busybox.digest, wanted ?? { commands: [] });
    const { base } = plan;
    const { signal, test, keep } = options;
    const outputs = await engine.sandbox.run(
      {
        plan,
        ...(wanted === undefined ? {} : { step }),
        ...(test === undefined
          ? {}
          : { test: { base, artifacts: [], network: 'none', timeoutSeconds: 60, ...test } }),
        ...(keep === undefined ? {} : { keep }),
        source: createSource(files),
      },
      context(signal),
    );
    return unpack(outputs);
  }

  async function runScript(files: Files, outputs?: Readable): Promise<{ entry: TarEntry; body: string }[]> {
    const { plan } = createPlan(busybox.digest, { commands: [] });
    const { build: _, ...rest } = plan;
    const input = {
      plan: { ...rest, environment: { COLOR: 'green' }, staticScript: 'bin/static.sh' },
      source: createSource(files),
      ...(outputs === undefined ? {} : { outputs }),
    };
    return unpack(await engine.sandbox.runScript(input, context()));
  }

  function summary(made: { entry: TarEntry; body: string }[]): string[] {
    return made.map(({ entry, body }) => {
      const head = `${entry.type} ${entry.mode.toString(8)} ${entry.uid} ${entry.path.replace(/\/$/, '')}`;
      if (entry.type === 'symlink') return `${head} -> ${entry.target}`;
      return entry.type === 'directory' ? head : `${head} ${JSON.stringify(body)}`;
    });
  }
}

async function unpack(archive: Readable): Promise<{ entry: TarEntry; body: string }[]> {
  const made: { entry: TarEntry; body: string }[] = [];
  for await (const { entry, body } of readTar(archive)) {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    made.push({ entry, body: Buffer.concat(chunks).toString() });
  }
  return made;
}

async function archiveOf(path: string, text: string): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  for await (const part of tarFile(path, Buffer.from(text))) parts.push(part);
  return parts;
}
