import { requirePrograms } from './dockerd.ts';
import { freePort } from './free-port.ts';
import { type RunningProcess, run, startProcess, waitFor } from './process.ts';
import { createTempDirectory } from './temp.ts';

export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Answer of one command, as redis-cli prints it. Errors: when it is not answered with success. */
  command(...words: string[]): Promise<string>;
  /** All that it holds is gone. */
  flush(): Promise<void>;
  /** `kill -9`; resolves when it is gone. What it keeps depends on `appendOnly`. */
  kill(): Promise<void>;
  /** Starts it again on the same port, after a kill or instead of one; resolves when it answers. From now on with `appendOnly`, if that is given. */
  restart(options?: { appendOnly?: boolean }): Promise<void>;
  /** Takes connections and answers nothing, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends it and removes what it wrote; a second call is no error. */
  stop(): Promise<void>;
}

export interface TestRedisOptions {
  /** Writes each change to disk, and has it again after a restart. Default false: it comes back empty. */
  readonly appendOnly?: boolean;
  readonly password?: string;
}

/** A Redis of its own on a free port of loopback. The caller stops it. Errors: when it is not installed or does not start. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  await requirePrograms(['redis-server', 'redis-cli', 'setpriv']);
  const directory = await createTempDirectory('redis');
  const port = await freePort();
  const { password } = options;
  const account = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  let appendOnly = options.appendOnly ?? false;
  let running: RunningProcess | undefined;

  const ask = (...words: string[]) =>
    run('redis-cli', ['-h', '127.0.0.1', '-p', String(port), '-e', ...words], {
      env: { REDISCLI_AUTH: password },
      timeoutMs: 10_000,
    });
  const start = async (): Promise<void> => {
    // PDEATHSIG: should the test process be killed, Redis goes too.
    const started = await startProcess('setpriv', [
      '--pdeathsig=KILL',
      'redis-server',
      '--bind 127.0.0.1',
      `--port ${port}`,
      `--dir ${directory.path}`,
      '--save ""',
      `--appendonly ${appendOnly ? 'yes' : 'no'}`,
      '--appendfsync always',
      ...(password === undefined ? [] : ['--requirepass', password]),
    ]);
    running = started;
    let ended = false;
    void started.ended.then(() => {
      ended = true;
    });
    await waitFor(async () => (await ask('PING')).stdout.trim() === 'PONG', {
      what: `Redis on port ${port}`,
      gaveUp: () => (ended ? started.output() : undefined),
    });
  };
  const kill = async (): Promise<void> => {
    await running?.stop('SIGKILL');
    running = undefined;
  };
  const stop = async (): Promise<void> => {
    await kill();
    await directory.remove();
  };
  const redis: TestRedis = {
    url: `redis://${account}127.0.0.1:${port}/0`,
    port,
    async command(...words) {
      const { code, stdout, stderr } = await ask(...words);
      if (code !== 0) throw new Error(`${words.join(' ')}: ${stdout}${stderr}`);
      return stdout.trim();
    },
    async flush() {
      await redis.command('FLUSHALL', 'SYNC');
    },
    kill,
    async restart(changed = {}) {
      await kill();
      appendOnly = changed.appendOnly ?? appendOnly;
      await start();
    },
    pause: () => void running?.child.kill('SIGSTOP'),
    resume: () => void running?.child.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
  await start().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return redis;
}
