import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { run as runBrickyard } from '../../../cli/main.ts';
import { freePort } from '../../helpers/free-port.ts';
import { type RunResult, run, startProcess, waitFor } from '../../helpers/process.ts';
import { openSocket } from '../../helpers/raw-http.ts';
import { startServer } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const program = join(import.meta.dirname, '../../../bin/brickyard.js');

async function serve(env: Record<string, string>, ...args: string[]): Promise<RunResult> {
  await using folder = await createTempDirectory('serve');
  return await run(process.execPath, [program, 'serve', ...args], {
    cwd: folder.path,
    env: { BRICKYARD_LISTEN: '127.0.0.1:0', BRICKYARD_DATA: join(folder.path, 'data'), ...env },
    timeoutMs: 20_000,
  });
}

describe('brickyard serve', () => {
  it('says that its port is taken, and which other one would do', async () => {
    const server = await startServer();
    try {
      const { code, stderr } = await serve({ BRICKYARD_LISTEN: server.host });

      expect(code).toBe(1);
      expect(stderr).toContain(`cannot listen on ${server.host}: another program listens there`);
      expect(stderr).toContain('BRICKYARD_LISTEN=');
    } finally {
      await server.remove();
    }
  });

  it('opens itself to other machines only with accounts, or when told to', async () => {
    const { code, stderr } = await serve({ BRICKYARD_LISTEN: '0.0.0.0:0' });

    expect(code).toBe(2);
    expect(stderr).toContain('brickyard user add');
    expect(stderr).toContain('--insecure-open');
  });

  it('names every setting that it does not know or cannot read', async () => {
    const { code, stderr } = await serve({ BRICKYARD_LISTN: '1', BRICKYARD_PROCESSES: 'many' });

    expect(code).toBe(2);
    expect(stderr).toContain('BRICKYARD_LISTN: no setting has this name (did you mean BRICKYARD_LISTEN?)');
    expect(stderr).toContain('BRICKYARD_PROCESSES: must be a whole number');
  });

  it.each(['/proc/brickyard', '/dev/null/brickyard'])(
    'says that it can make no folder at %s',
    async (data) => {
      const { code, stderr } = await serve({ BRICKYARD_DATA: data });

      expect(code).toBe(1);
      expect(stderr).toContain(`cannot make the data folder ${data}/store`);
      expect(stderr).toContain('BRICKYARD_DATA');
      expect(stderr).not.toContain('    at ');
    },
  );

  it('starts not without the accounts that it was told of', async () => {
    const { code, stderr } = await serve({ BRICKYARD_AUTH_HTPASSWD: 'missing' });

    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot read the accounts in .*missing/);
  });

  it('stops on Ctrl-C, and ends every process at once on a second one while a request runs', async () => {
    const server = await startServer();
    try {
      const begun = await fetch(`${server.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
      const location = new URL(begun.headers.get('location') ?? '', server.url);
      // An upload whose body never ends.
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new Uint8Array(1000)),
      });
      const upload = fetch(location, { method: 'PATCH', body, duplex: 'half' } as RequestInit).catch(
        () => 'cut',
      );
      const { stdout } = await run('ps', ['--ppid', String(server.process.pid), '-o', 'pid=']);
      const children = stdout.trim().split(/\s+/).map(Number);
      expect(children.length).toBeGreaterThan(1);

      server.process.kill('SIGINT');
      await waitFor(() => server.output().includes('stopping'), { what: 'the first Ctrl-C' });
      server.process.kill('SIGINT');

      await waitFor(() => server.process.exitCode === 130, {
        what: 'the end of the supervisor',
        timeoutMs: 3000,
      });
      await waitFor(() => !children.some(isRunning), { what: 'the end of its children', timeoutMs: 3000 });
      expect(await upload).toBe('cut');
    } finally {
      await server.remove();
    }
  });

  it('keeps nobody waiting who comes while it stops listening', async () => {
    // The moment is short: three ends.
    for (let round = 1; round <= 3; round++) {
      const server = await startServer({
        env: { BRICKYARD_PROCESSES: '1', BRICKYARD_SHUTDOWN_DRAIN_SECONDS: '60' },
      });
      const begun = await fetch(`${server.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
      const { pathname, search } = new URL(begun.headers.get('location') ?? '', server.url);
      const upload = await openSocket(server.url);
      upload.write(
        `PATCH ${pathname}${search} HTTP/1.1\r\nHost: ${server.host}\r\nContent-Length: 9\r\n\r\nhalf`,
      );
      const come = createVisitors(server.port);
      const visits = setInterval(come, 1);
      await delay(100);

      const stopped = server.stop('SIGTERM');
      await waitFor(() => come.refused() > 200, { what: 'the end of listening' });
      clearInterval(visits);

      await waitFor(() => come.waiting() === 0, { what: 'all who came are answered or sent away' });
      expect(upload.closed).toBe(false);
      upload.destroy();
      await stopped;
      await server.remove();
    }
  }, 60_000);

  it('ends when Ctrl-C comes while it starts', async () => {
    await using folder = await createTempDirectory('serve');
    const port = await freePort();
    const started = await startProcess(process.execPath, [program, 'serve'], {
      cwd: folder.path,
      env: { BRICKYARD_LISTEN: `127.0.0.1:${port}`, BRICKYARD_DATA: folder.path },
    });
    // The children are there, and have not listened yet.
    await waitFor(
      async () => (await run('ps', ['--ppid', String(started.pid), '-o', 'pid='])).stdout.trim() !== '',
      { what: 'the children' },
    );
    started.child.kill('SIGINT');
    await started.ended;

    expect(started.child.exitCode).toBe(0);
    expect(started.output()).not.toMatch(/fault of the program|Error/);
  });
});

/** Somebody asks for a page, on a connection of his own, at each call. */
function createVisitors(port: number) {
  let waiting = 0;
  let refused = 0;
  const come = (): void => {
    waiting++;
    const socket = connect(port, '127.0.0.1', () => {
      socket.write('GET /healthz HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n');
    });
    socket.resume();
    socket.on('error', () => refused++);
    socket.once('close', () => waiting--);
  };
  return Object.assign(come, { waiting: () => waiting, refused: () => refused });
}

describe('brickyard doctor', () => {
  async function doctor(env: Record<string, string>, ...args: string[]): Promise<RunResult> {
    await using folder = await createTempDirectory('doctor');
    await writeFile(join(folder.path, 'broken.htpasswd'), 'alice:plain\n');
    let stdout = '';
    let stderr = '';
    const code = await runBrickyard(['doctor', ...args], {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      cwd: folder.path,
      env: { BRICKYARD_DATA: join(folder.path, 'data'), ...env },
    });
    return { code, stdout, stderr };
  }

  it('finds nothing bad on this machine', async () => {
    const { code, stdout } = await doctor({}, '--json');

    const findings = JSON.parse(stdout) as { what: string; state: string }[];
    // What an engine that runs here lacks is told of beside it.
    expect(findings.map(({ what }) => what).filter((what) => what !== 'sandbox')).toEqual([
      'node',
      'git',
      'configuration',
      'store',
      'conditional writes',
      'disk',
      'engine',
      'base images',
      'accounts',
    ]);
    expect(findings.filter(({ what, state }) => what !== 'disk' && state === 'bad')).toEqual([]);
    expect(code).toBe(findings.some(({ state }) => state === 'bad') ? 1 : 0);
  });

  it.each([
    [{ BRICKYARD_DATA: '/proc/brickyard' }, /BAD {2}store .*cannot make the data folder/],
    [{ BRICKYARD_LISTEN: '0.0.0.0:5000' }, /BAD {2}configuration .*nobody would have to sign in/],
    [{ BRICKYARD_NONSENSE: '1' }, /BAD {2}configuration .*\n {24}BRICKYARD_NONSENSE: no setting/],
    [{ BRICKYARD_AUTH_HTPASSWD: 'missing' }, /BAD {2}accounts .*no such file.*brickyard user add/],
    [{ BRICKYARD_AUTH_HTPASSWD: 'broken.htpasswd' }, /BAD {2}accounts .*broken\.htpasswd:1: /],
  ])('says what is bad with %j', async (env, text) => {
    const { code, stdout, stderr } = await doctor(env);

    expect(stdout).toMatch(text);
    expect(stderr).toMatch(/\d of \d checks failed/);
    expect(code).toBe(1);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
