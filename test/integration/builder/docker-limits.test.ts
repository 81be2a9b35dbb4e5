import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EgressSettings } from '../../../builder/engines/docker/egress.ts';
import type { SandboxLimits } from '../../../builder/engines/docker/sandbox-limits.ts';
import {
  askEngine,
  createDockerEngine,
  type DockerEngine,
  type DockerEngineOptions,
} from '../../../builder/engines/docker.ts';
import type { BuildStep } from '../../../builder/plan/plan.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import type { Registry } from '../../../oci/registry.ts';
import { startDockerd, type TestDockerd } from '../../helpers/dockerd.ts';
import type { TestImage } from '../../helpers/image.ts';
import { run, runOk, waitFor } from '../../helpers/process.ts';
import { createBusyboxImage, createPlan, createSource, serveImages } from './docker-fixtures.ts';

const mib = 1024 ** 2;

let dockerd: TestDockerd;
let busybox: TestImage;
let registry: Registry;
let engine: DockerEngine;
let lines: string[];

beforeAll(async () => {
  dockerd = await startDockerd();
  busybox = await createBusyboxImage();
  registry = await serveImages({ 'baseimages/busybox': busybox });
});

afterAll(async () => {
  await dockerd?.stop();
});

beforeEach(() => {
  lines = [];
});

afterEach(async () => {
  await engine?.close();
  const left = await docker('ps', '--all', '--quiet');
  expect(left + (await docker('volume', 'ls', '--quiet'))).toBe('');
});

describe('rows 27 and 28: a build that takes more than its part is stopped with the reason', () => {
  it.each<[string, Partial<SandboxLimits>, string, RegExp]>([
    [
      'many files of moderate size',
      { disk: 64 * mib },
      'i=0; while true; do i=$((i+1)); dd if=/dev/zero of=f$i bs=1M count=4 2>/dev/null; sleep 0.05; done',
      /the build commands used more than 64 MiB of disk \(builder\.sandbox\.disk\)/,
    ],
    [
      'a flood of empty files',
      { files: 500 },
      'i=0; while true; do i=$((i+1)); : > f$i; done',
      /the build commands made more than 500 files and directories \(builder\.sandbox\.files\)/,
    ],
    [
      'a file of 100 GB',
      { fileSize: 8 * mib },
      'dd if=/dev/zero of=big bs=1M count=102400',
      /exit code 153: a file may have at most 8 MiB \(builder\.sandbox\.fileSize\)/,
    ],
    [
      'a file of 100 GB with a hole',
      {},
      'dd if=/dev/zero of=big bs=1 count=1 seek=107374182400',
      /exit code 153: a file may have at most 8 GiB/,
    ],
    [
      'a memory hog',
      { memory: 48 * mib },
      'x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done',
      /needed more than the 48 MiB of memory a build may use \(builder\.sandbox\.memory\)/,
    ],
    [
      'endless output',
      { output: mib },
      'yes',
      /the build commands wrote more than 1 MiB of output \(builder\.sandbox\.output\)/,
    ],
    [
      'a fork bomb',
      { processes: 24 },
      'i=0; while [ $i -lt 30 ]; do i=$((i+1)); (while true; do sleep 300 || true; done) & done; wait',
      /had all of the 24 processes|build command 1 of 1 ended with exit code/,
    ],
    [
      'a process that ignores TERM, in a session of its own, which holds the output',
      { timeout: 2 },
      "trap '' TERM HUP INT; /bin/busybox setsid sh -c \"trap '' TERM HUP; sleep 300\" & sleep 300",
      /the build commands took longer than 2 s \(builder\.sandbox\.timeout\)/,
    ],
  ])('%s', async (_, limits, command, reason) => {
    await open({ limits });

    const failed: unknown = await build({ commands: [command] }).catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(JobFailed);
    expect(`${(failed as Error).message}\n${lines.join('\n')}`).toMatch(reason);
  });

  it('and its neighbour on the same engine gets what it needs', async () => {
    await open({ limits: { processes: 24, memory: 64 * mib, disk: 64 * mib } });
    const bombs = ['b() { b | b & }; b; sleep 300', 'x=xxxxxxxx; while true; do x=$x$x; done'].map(
      (command) => build({ commands: [command], timeoutSeconds: 3 }).catch((error: unknown) => error),
    );
    const neighbour = build({ commands: ['sleep 1; echo fine > out'] });

    expect(await neighbour).toEqual({ out: 'fine\n' });
    for (const failed of await Promise.all(bombs)) expect(failed).toBeInstanceOf(JobFailed);
  });

  it('a build that is cancelled ends within seconds, whatever it ignores', async () => {
    await open();
    const controller = new AbortController();
    const cancelled = build(
      { commands: ["trap '' TERM HUP INT; (trap '' TERM; sleep 300) & echo begun; sleep 300"] },
      controller.signal,
    ).catch((error: unknown) => error);
    await waitFor(() => lines.includes('begun'), { what: 'the build' });
    const began = Date.now();

    controller.abort(new Error('cancelled by alice'));

    expect(await cancelled).toEqual(new Error('cancelled by alice'));
    expect(Date.now() - began).toBeLessThan(15_000);
  });
});

describe('rows 25 and 26: the walls of a sandbox', () => {
  it('the engine is asked for all of them', async () => {
    await open();
    const controller = new AbortController();
    const running = build({ commands: ['echo begun; sleep 300'], network: 'none' }, controller.signal);
    running.catch(() => {});
    await waitFor(() => lines.includes('begun'), { what: 'the build' });

    const id = (await docker('ps', '--quiet')).trim();
    const [{ HostConfig: host, Mounts: mounts, Config: config }] = JSON.parse(await docker('inspect', id));
    controller.abort(new Error('seen'));
    await expect(running).rejects.toThrow('seen');

    expect(host).toMatchObject({
      Privileged: false,
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      NetworkMode: 'none',
      IpcMode: 'private',
      PidMode: '',
      UsernsMode: '',
      Memory: 2 * 1024 ** 3,
      MemorySwap: 2 * 1024 ** 3,
      PidsLimit: 512,
    });
    expect([host.CapAdd ?? [], host.Binds ?? [], host.Devices ?? [], host.GroupAdd ?? []]).toEqual([
      [],
      [],
      [],
      [],
    ]);
    expect(mounts.map(({ Type, Destination }: Record<string, string>) => `${Type} ${Destination}`)).toEqual([
      'volume /home',
    ]);
    expect(config.User).toBe('10001:10001');
  });

  it('and from the inside there is no way through them', async () => {
    await open();

    const seen = await build({
      commands: [
        "sed -n 's/^CapPrm:.//p; s/^CapAmb:.//p; s/^NoNewPrivs:.//p; s/^Seccomp:.//p' /proc/self/status > status",
        '(ulimit -c; ulimit -n) > limits',
        'mount -t tmpfs none /mnt 2>/dev/null || echo refused > mount',
        'echo 1 2>/dev/null > /proc/sys/kernel/core_pattern || echo refused > sysctl',
        'find /dev -type b > devices; cat /dev/mem /dev/kmsg 2>/dev/null >> devices || true',
        'find / -xdev -name "*.sock" 2>/dev/null > sockets; true',
        'kill -9 1 2>/dev/null; true',
      ],
    });

    expect(seen).toEqual({
      status: '0000000000000000\n0000000000000000\n1\n2\n',
      limits: '0\n16384\n',
      mount: 'refused\n',
      sysctl: 'refused\n',
      devices: '',
      sockets: '',
    });
  });

  it('the engine says what it is and has', async () => {
    expect(await askEngine({ socket: dockerd.socketPath })).toEqual({
      name: 'Docker',
      version: expect.stringMatching(/^\d+\./),
      runc: expect.stringMatching(/^\d+\./),
      runtimes: expect.arrayContaining(['runc']),
      security: expect.arrayContaining([expect.stringContaining('seccomp')]),
      socketPath: dockerd.socketPath,
    });
  });

  it('a runtime that the engine has not is an error with those that it has, and no build behind weaker walls', async () => {
    await expect(open({ runtime: 'runsc' })).rejects.toThrow(/Docker has no runtime "runsc".*runc/);
    await open({ runtime: 'runc' });

    expect(await build({ commands: ['echo fine > out'] })).toEqual({ out: 'fine\n' });
  });
});

describe('the network of a sandbox', () => {
  const large = randomBytes(3 * mib);
  const server = createServer((request, response) =>
    response.end(request.url === '/large' ? large : `hello ${request.headers.host}`),
  );
  let port = 0;

  beforeAll(async () => {
    // As a careless service of the same machine would listen.
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    ({ port } = server.address() as AddressInfo);
  });

  afterAll(() => {
    server.close();
  });

  /** Debian's static busybox cannot resolve names, so requests are written by hand; held open, as nc would end its half too early. */
  function ask(url: string, [host, at]: readonly [string, number] = ['127.0.0.1', 15128]): string {
    const head = `GET ${url} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n`;
    return `(printf '${head}'; sleep 2) | /bin/busybox nc -w 4 ${host} ${at}`;
  }

  it('none: there is loopback and nothing else', async () => {
    await open({ egress: { allow: [`localhost:${port}`] } });

    const seen = await build({
      commands: ['ls /sys/class/net > net', 'env | grep -ic proxy > proxies || true'],
    });

    expect(seen).toEqual({ net: 'lo\n', proxies: '0\n' });
  });

  it('proxy: a listed host is reached through the proxy, anything else is refused and told of in the log', async () => {
    await open({ egress: { allow: [`localhost:${port}`] } });

    const seen = await build({
      network: 'proxy',
      commands: [
        'env | grep -i proxy= | sort > environment',
        `${ask(`http://localhost:${port}/large`)} | tail -c ${large.length} | /bin/busybox sha256sum > large`,
        `${ask(`http://localhost:${port}/`)} > listed & ${ask('http://example.com/')} > other & ${ask('http://169.254.169.254/')} > metadata & wait`,
      ],
    });

    expect(seen['environment']).toContain('HTTPS_PROXY=http://127.0.0.1:15128\n');
    expect(seen['large']).toContain(createHash('sha256').update(large).digest('hex'));
    expect(seen['listed']).toMatch(/^HTTP\/1.1 200 [^]*hello localhost:\d+$/);
    expect(seen['other']).toMatch(/^HTTP\/1.1 403 /);
    expect(seen['metadata']).toMatch(/^HTTP\/1.1 403 /);
    const log = lines.join('\n');
    expect(log).toMatch(
      /network: example\.com:80 was not reached: "network: proxy" reaches listed hosts only/,
    );
    expect(log).toContain('network: 169.254.169.254:80 was not reached:');
    expect(log).toMatch(/network: reached localhost:\d+ \(2, 3\.1 MB\)/);
  });

  it('open: private addresses are refused by the proxy, and without it nothing is there at all', async () => {
    await open();
    const addresses = ['127.0.0.1', '10.0.0.1', '169.254.169.254', await gateway(), '[::1]'];
    const around = [...addresses.slice(1), '::1', '198.51.100.1', 'fe80::1'].map((each) =>
      each.replace(/[[\]]/g, ''),
    );

    const seen = await build({
      network: 'open',
      commands: [
        'cd /sys/class/net && echo * > /home/app/net',
        'grep -vc lo /proc/net/ipv6_route > routes || true; tail -n +2 /proc/net/route >> routes; true',
        `${addresses.map((each, index) => `${ask(`http://${each}/`)} > proxied${index} &`).join(' ')} wait`,
        `${around.map((each, index) => `${ask('/', [each, port])} > direct${index} 2>&1 &`).join(' ')} wait`,
      ],
    });

    expect(seen).toMatchObject({ net: 'lo\n', routes: '0\n' });
    for (const [index] of addresses.entries()) expect(seen[`proxied${index}`]).toMatch(/^HTTP\/1.1 403 /);
    for (const [index] of around.entries()) expect(seen[`direct${index}`]).toMatch(/^nc: can't connect/);
  });

  it('two builds at a time see neither each other nor each other’s hosts', async () => {
    await open({ egress: { allow: [`localhost:${port}`] } });
    const listening = build({
      network: 'proxy',
      commands: ['(echo secret | /bin/busybox nc -l -p 7777 -w 3) & sleep 3; echo done > out'],
    });
    const looking = build({
      network: 'proxy',
      commands: [
        'sleep 1; (/bin/busybox nc -w 2 127.0.0.1 7777 < /dev/null || echo nobody) > out 2>/dev/null',
      ],
    });

    expect(await looking).toEqual({ out: 'nobody\n' });
    expect(await listening).toEqual({ out: 'done\n' });
  });

  it('settings for package managers lie in $HOME, and the relay beside the build is as bare as the build', async () => {
    await open({ egress: { mirrors: { npm: `http://localhost:${port}/npm/` } } });
    const controller = new AbortController();
    const running = build(
      {
        network: 'proxy',
        commands: ['cat ~/.npmrc; grep -c "<proxy>" ~/.m2/settings.xml; echo begun; sleep 300'],
      },
      controller.signal,
    );
    running.catch(() => {});
    await waitFor(() => lines.includes('begun'), { what: 'the build' });

    const ids = (await docker('ps', '--quiet')).trim().split('\n');
    const found = JSON.parse(await docker('inspect', ...ids)) as {
      Config: { User: string; Image: string };
      HostConfig: { NetworkMode: string; ReadonlyRootfs: boolean; CapDrop: string[] };
      Mounts: object[];
    }[];
    const relay = found.find(({ Config }) => Config.Image.includes('relay'));
    controller.abort(new Error('seen'));
    await expect(running).rejects.toThrow('seen');

    expect(lines).toEqual(expect.arrayContaining([`registry=http://localhost:${port}/npm/`, '2']));
    expect(new Set(found.map(({ HostConfig }) => HostConfig.NetworkMode.split(':')[0]))).toEqual(
      new Set(['container', 'none']),
    );
    expect(relay).toMatchObject({
      Config: { User: '65534:65534' },
      HostConfig: { NetworkMode: 'none', ReadonlyRootfs: true, CapDrop: ['ALL'] },
      Mounts: [],
    });
  });
});

async function open(
  options: Pick<DockerEngineOptions, 'limits' | 'runtime'> & { egress?: Partial<EgressSettings> } = {},
): Promise<void> {
  const made = await createDockerEngine({
    socket: dockerd.socketPath,
    registry,
    log: createSilentLogger(),
    ...options,
  });
  if (made === undefined) throw new Error(dockerd.output());
  engine = made;
}

/** Files that the build left, by their names. */
async function build(
  wanted: Partial<BuildStep> & Pick<BuildStep, 'commands'>,
  signal = new AbortController().signal,
): Promise<Record<string, string>> {
  const { plan, step } = createPlan(busybox.digest, wanted);
  const log = (line: string): void => void lines.push(line);
  const outputs = await engine.sandbox.run({ plan, step, source: createSource({}) }, { signal, log });
  const files: Record<string, string> = {};
  for await (const { entry, body } of readTar(outputs)) {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    if (entry.type === 'file') files[entry.path.replace('home/app/', '')] = Buffer.concat(chunks).toString();
  }
  return files;
}

function docker(...args: string[]): Promise<string> {
  return runOk('docker', args, { env: dockerd.env });
}

/** Of the engine's own bridge, where the machine itself would answer. */
async function gateway(): Promise<string> {
  const found = await run(
    'docker',
    ['network', 'inspect', 'bridge', '--format={{(index .IPAM.Config 0).Gateway}}'],
    {
      env: dockerd.env,
    },
  );
  return found.stdout.trim();
}
