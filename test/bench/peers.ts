import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startServer } from '../helpers/server.ts';

/** A registry under test: both are real programs on the same disk. */
export interface BenchRegistry {
  readonly name: string;
  /** Where it keeps everything. */
  readonly data: string;
  readonly url: string;
  readonly host: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startBrickyard(
  scratch: string,
  env: Readonly<Record<string, string>> = {},
): Promise<BenchRegistry> {
  const data = await mkdtemp(join(scratch, 'brickyard-'));
  const server = await startServer({ data, env });
  return {
    name: 'brickyard',
    data,
    url: server.url,
    host: server.host,
    pid: server.process.pid ?? 0,
    stop: () => server.remove(),
  };
}

/** Debian's docker-registry with its filesystem driver, deletion and caching as its package configures them. */
export async function startDockerRegistry(scratch: string): Promise<BenchRegistry> {
  const folder = await mkdtemp(join(scratch, 'docker-registry-'));
  const port = await freePort();
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    [
      'version: 0.1',
      'log: {level: error, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${folder}/store}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}}`,
      `http: {addr: 127.0.0.1:${port}}`,
      '',
    ].join('\n'),
  );
  const child = spawn('docker-registry', ['serve', config], {
    stdio: 'ignore',
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (cause) =>
      reject(new Error('docker-registry does not start; run `npm run setup`', { cause })),
    );
  });
  await Promise.race([failed, untilAnswers(`http://127.0.0.1:${port}/v2/`)]);
  return {
    name: 'docker-registry',
    data: folder,
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function untilAnswers(url: string): Promise<void> {
  const end = Date.now() + 20_000;
  for (;;) {
    try {
      await fetch(url);
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
