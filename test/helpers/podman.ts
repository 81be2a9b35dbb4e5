import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, requirePrograms } from './dockerd.ts';
import { run, startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

/** Podman with storage of its own for one test file, and its Docker-compatible socket. */
export interface TestPodman {
  readonly socketPath: string;
  /** Options that make the `podman` program use the same storage. */
  readonly options: readonly string[];
  /** Environment for the `docker` program. */
  readonly env: Readonly<Record<string, string>>;
  output(): string;
  stop(): Promise<void>;
}

/** Errors: when the machine has no podman, or its service does not come up; says `npm run setup`. */
export async function startPodman(): Promise<TestPodman> {
  await requirePrograms(['podman', 'setpriv']);
  const directory = await createTempDirectory('podman');
  const socketPath = join(directory.path, 'podman.sock');
  const options = [
    `--root=${join(directory.path, 'root')}`,
    `--runroot=${join(directory.path, 'run')}`,
    `--tmpdir=${join(directory.path, 'tmp')}`,
    `--network-config-dir=${join(directory.path, 'net')}`,
    '--cgroup-manager=cgroupfs',
    '--events-backend=file',
  ];
  await mkdir(join(directory.path, 'net'));
  const service = await startProcess(
    'setpriv',
    ['--pdeathsig=TERM', 'podman', ...options, 'system', 'service', '--time=0', `unix://${socketPath}`],
    {
      // conmon leaves a file named `oom` where it was started.
      cwd: directory.path,
    },
  );
  let ended = false;
  void service.ended.then(() => {
    ended = true;
  });
  const undo = async (): Promise<void> => {
    await run('podman', [...options, 'rm', '--all', '--force', '--time=0']);
    await service.stop('SIGTERM', 10_000);
    // Storage keeps its own mount in place.
    await run('umount', ['--recursive', join(directory.path, 'root', 'overlay')]);
    await directory.remove();
  };
  try {
    await waitFor(() => answers(socketPath), {
      what: 'podman',
      gaveUp: () => (ended ? `it ended:\n${service.output()}` : undefined),
    });
  } catch (error) {
    await undo();
    throw error;
  }
  const env = { DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: join(directory.path, 'config') };
  return { socketPath, options, env, output: () => service.output(), stop: undo };
}
