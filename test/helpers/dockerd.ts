import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { run, runOk, startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** A Docker engine of its own for one test file: own storage, own socket, own bridge; a running dockerd is not disturbed. */
export interface TestDockerd {
  readonly socketPath: string;
  /** Environment for the `docker` program. */
  readonly env: Readonly<Record<string, string>>;
  /** The engine's own words, for a failing test's message. */
  output(): string;
  stop(): Promise<void>;
}

/**
 * `storage`: where its images and containers lie; default: in a temporary folder. Errors: when the machine has no dockerd, or it does not come up (needs
 * root); says `npm run setup`.
 */
export async function startDockerd(options: { readonly storage?: string } = {}): Promise<TestDockerd> {
  await requirePrograms(['dockerd', 'docker', 'ip', 'setpriv']);
  const directory = await createTempDirectory('docker');
  const dataRoot = join(options.storage ?? directory.path, 'data');
  const bridge = await createBridge();
  const socketPath = join(directory.path, 'docker.sock');
  const configFile = join(directory.path, 'daemon.json');
  await writeFile(configFile, '{}');
  const undo = async (): Promise<void> => {
    await run('ip', ['link', 'delete', bridge.name]);
    // Where mounts are not shared, dockerd mounts its own folder over itself and may leave that behind.
    await run('umount', ['--recursive', dataRoot]);
    await directory.remove();
  };
  // PDEATHSIG: should the test process be killed, its engine goes too.
  const engine = await startProcess('setpriv', [
    '--pdeathsig=TERM',
    'dockerd',
    `--host=unix://${socketPath}`,
    `--data-root=${dataRoot}`,
    `--exec-root=${join(directory.path, 'exec')}`,
    `--pidfile=${join(directory.path, 'docker.pid')}`,
    `--bridge=${bridge.name}`,
    // Neither the machine's packet filter nor its forwarding is touched; published ports go through docker-proxy.
    '--iptables=false',
    '--ip6tables=false',
    '--ip-forward=false',
    '--ip-masq=false',
    // Where the machine's containerd is used, its other namespaces stay untouched.
    `--containerd-namespace=${bridge.name}`,
    `--containerd-plugins-namespace=${bridge.name}-plugins`,
    `--config-file=${configFile}`,
    '--log-level=warn',
    '--shutdown-timeout=2',
  ]);
  let ended = false;
  void engine.ended.then(() => {
    ended = true;
  });
  try {
    await waitFor(() => answers(socketPath), {
      what: 'dockerd',
      timeoutMs: 60_000,
      gaveUp: () => (ended ? `it ended:\n${engine.output()}` : undefined),
    });
  } catch (error) {
    await engine.stop();
    await undo();
    throw error;
  }
  return {
    socketPath,
    // The classic builder: Debian's and many other `docker` programs come without buildx.
    env: {
      DOCKER_HOST: `unix://${socketPath}`,
      DOCKER_BUILDKIT: '0',
      DOCKER_CONFIG: join(directory.path, 'config'),
    },
    output: () => engine.output(),
    async stop() {
      await engine.stop('SIGTERM', 20_000);
      await undo();
    },
  };
}

/** Errors: names what is missing and what to do. */
export async function requirePrograms(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const found = await run('sh', ['-c', 'command -v "$0"', name]);
    if (found.code !== 0) throw new Error(`${name} is not installed here: run \`npm run setup\``);
  }
}

/** True when an engine answers /_ping on this socket. */
export function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy());
    ping.on('error', () => resolve(false));
    ping.end();
  });
}

async function createBridge(): Promise<{ name: string }> {
  for (let attempt = 0; ; attempt += 1) {
    // 198.18.0.0/15 is reserved for tests between devices (RFC 2544): no real network is hidden by it.
    const third = randomInt(256);
    const second = randomInt(18, 20);
    const name = `by${second}x${third}`;
    const added = await run('ip', ['link', 'add', name, 'type', 'bridge']);
    if (added.code === 0) {
      await runOk('ip', ['address', 'add', `198.${second}.${third}.1/24`, 'dev', name]);
      await runOk('ip', ['link', 'set', name, 'up']);
      return { name };
    }
    if (attempt === 9) throw new Error(`no network bridge for dockerd: ${added.stderr}`);
  }
}
