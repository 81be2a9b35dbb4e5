import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export interface TestServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly data: string;
  /** The supervising process. */
  readonly process: ChildProcess;
  /** Everything the server printed so far. */
  output(): string;
  /** Ends the server as an operator would and waits for it; with a signal SIGKILL every process of it dies at once. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Stops it, and removes its data. */
  remove(): Promise<void>;
}

export interface TestServerOptions {
  /** Kept from an earlier server; a fresh folder otherwise. */
  readonly data?: string;
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

/** Starts the real program on a free loopback port and resolves when it answers. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const data = options.data ?? (await mkdtemp(join(tmpdir(), 'brickyard-test-')));
  // A process group of its own, so that SIGKILL reaches the children as a power cut would.
  const child = spawn(process.execPath, [join(root, 'bin/brickyard.js'), 'serve', ...(options.args ?? [])], {
    cwd: data,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...inheritedEnvironment(),
      BRICKYARD_LISTEN: `127.0.0.1:${options.port ?? 0}`,
      BRICKYARD_DATA: data,
      ...options.env,
    },
  });
  let output = '';
  const port = await new Promise<number>((resolvePort, reject) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const match = /listening on http:\/\/[^\s:]+:(\d+)/.exec(output);
      if (match !== null) resolvePort(Number(match[1]));
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`the server ended with ${code} before it listened:\n${output}`)),
    );
  });
  const exited = once(child, 'exit');
  const stop = async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    process.kill(signal === 'SIGKILL' ? -(child.pid ?? 0) : (child.pid ?? 0), signal);
    await exited;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    port,
    data,
    process: child,
    output: () => output,
    stop,
    async remove() {
      await stop();
      await rm(data, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** The environment without settings of a Brickyard that the tester may run himself. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BRICKYARD_')));
}
