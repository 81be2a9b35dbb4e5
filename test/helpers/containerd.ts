import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePrograms } from './dockerd.ts';
import { type RunResult, run, startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** containerd with storage of its own. */
export interface TestContainerd {
  /** Runs `ctr` against it. */
  ctr(...args: string[]): Promise<RunResult>;
  /** Pulls by the hosts.toml files of a folder; `--plain-http` and the like go behind. Layers are unpacked by copying, without a mount. */
  pull(reference: string, hostsFolder: string, ...more: string[]): Promise<RunResult>;
  output(): string;
  stop(): Promise<void>;
}

/** Errors: when the machine has no containerd, or it does not come up; says `npm run setup`. */
export async function startContainerd(): Promise<TestContainerd> {
  await requirePrograms(['containerd', 'ctr', 'setpriv']);
  const directory = await createTempDirectory('containerd');
  const address = join(directory.path, 'sock');
  const config = join(directory.path, 'config.toml');
  await writeFile(
    config,
    [
      'version = 2',
      `root = ${JSON.stringify(join(directory.path, 'root'))}`,
      `state = ${JSON.stringify(join(directory.path, 'state'))}`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `  address = ${JSON.stringify(address)}`,
      '[ttrpc]',
      `  address = ${JSON.stringify(`${address}.ttrpc`)}`,
      '',
    ].join('\n'),
  );
  const daemon = await startProcess('setpriv', ['--pdeathsig=TERM', 'containerd', '--config', config]);
  let ended = false;
  void daemon.ended.then(() => {
    ended = true;
  });
  const ctr = (...args: string[]): Promise<RunResult> => run('ctr', ['--address', address, ...args]);
  const stop = async (): Promise<void> => {
    await daemon.stop('SIGTERM', 10_000);
    await directory.remove();
  };
  try {
    await waitFor(async () => (await ctr('version')).code === 0, {
      what: 'containerd',
      gaveUp: () => (ended ? `it ended:\n${daemon.output()}` : undefined),
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ctr,
    pull: (reference, hostsFolder, ...more) =>
      ctr('images', 'pull', '--snapshotter', 'native', '--hosts-dir', hostsFolder, ...more, reference),
    output: () => daemon.output(),
    stop,
  };
}
