import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { requirePrograms } from './dockerd.ts';
import { startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

export interface TestNginx extends AsyncDisposable {
  readonly pid: number;
  /** Lines of its access log so far, oldest first. */
  log(): Promise<NginxLine[]>;
  /** What stands in its error log. */
  errors(): Promise<string>;
  stop(): Promise<void>;
}

/** What `front render` lets nginx write of each request. */
export interface NginxLine {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly sent: number;
  readonly upstream: string;
  /** Bytes that came from replicas and the store, one number for each that was asked. */
  readonly upstreamReceived: string;
  readonly cache: string;
}

/**
 * Runs nginx with the text of a configuration that keeps its logs in `folder`, and resolves when it listens on `port`. The caller stops it.
 * Errors: when it cannot start (says `npm run setup`).
 */
export async function startNginx(options: {
  readonly config: string;
  readonly folder: string;
  readonly port: number;
}): Promise<TestNginx> {
  const { config, folder, port } = options;
  const directory = await createTempDirectory('nginx');
  const file = join(directory.path, 'nginx.conf');
  await writeFile(file, config);
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin`;
  await requirePrograms(['/usr/sbin/nginx', 'setpriv']);
  // PDEATHSIG: should this process be killed, nginx goes too.
  const args = ['--pdeathsig=TERM', 'nginx', '-c', file, '-p', folder, '-g', 'daemon off;'];
  const running = await startProcess('setpriv', args, { env: { PATH: path } });
  let ended = false;
  void running.ended.then(() => {
    ended = true;
  });
  const stop = async (): Promise<void> => {
    await running.stop('SIGTERM');
    await directory.remove();
  };
  await waitFor(() => listensOn(port), {
    what: `nginx on port ${port}`,
    gaveUp: () => (ended ? running.output() : undefined),
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    pid: running.pid,
    async log() {
      const text = await readFile(join(folder, 'access.log'), 'utf8');
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as NginxLine);
    },
    errors: () => readFile(join(folder, 'error.log'), 'utf8'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function listensOn(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
