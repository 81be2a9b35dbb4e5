import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = resolve(import.meta.dirname, '../..');

/** A server that goes on after the demo has ended. */
export interface DemoServer {
  readonly url: string;
  readonly pid: number;
  /** It was running before. */
  readonly reused: boolean;
}

/** `env`: its environment. It listens at BRICKYARD_LISTEN, default 127.0.0.1:5000, and on another port where that is taken. */
export interface DemoServerOptions {
  readonly env?: NodeJS.ProcessEnv;
}

/** Finds the server of an earlier demo or starts one in the background; its words go to `server.log`. */
export async function startDemoServer(
  folder: string,
  { env = process.env }: DemoServerOptions = {},
): Promise<DemoServer> {
  const known = await findDemoServer(folder);
  if (known !== undefined) return known;
  mkdirSync(folder, { recursive: true });
  const logFile = join(folder, 'server.log');
  const preferred = env['BRICKYARD_LISTEN'] ?? '127.0.0.1:5000';
  return (
    (await start(folder, { logFile, listen: preferred, env })) ??
    (await start(folder, { logFile, listen: '127.0.0.1:0', env })) ??
    failed(logFile)
  );
}

/** Asks the server of an earlier demo to end and waits for it. False = none was running. */
export async function stopDemoServer(folder: string): Promise<boolean> {
  const known = await findDemoServer(folder);
  if (known === undefined) return false;
  process.kill(known.pid, 'SIGTERM');
  while (isAlive(known.pid)) await sleep(50);
  rmSync(join(folder, 'server.json'), { force: true });
  return true;
}

async function findDemoServer(folder: string): Promise<DemoServer | undefined> {
  try {
    const { url, pid } = JSON.parse(readFileSync(join(folder, 'server.json'), 'utf8')) as {
      url: string;
      pid: number;
    };
    if (!isAlive(pid) || !(await isReady(url))) return undefined;
    return { url, pid, reused: true };
  } catch {
    return undefined;
  }
}

/** Undefined: it ended before it listened, e.g. because another program has the port. */
async function start(
  folder: string,
  { logFile, listen, env }: { logFile: string; listen: string; env: NodeJS.ProcessEnv },
): Promise<DemoServer | undefined> {
  const log = openSync(logFile, 'w');
  const child = spawn(process.execPath, [join(root, 'bin/brickyard.js'), 'serve'], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...env, BRICKYARD_LISTEN: listen, BRICKYARD_DATA: folder },
  });
  closeSync(log);
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  while (!ended) {
    const url = /listening on (http:\/\/\S+?),/.exec(readFileSync(logFile, 'utf8'))?.[1];
    if (url !== undefined && (await isReady(url))) {
      child.unref();
      const server = { url, pid: child.pid ?? 0 };
      writeFileSync(join(folder, 'server.json'), `${JSON.stringify(server)}\n`);
      return { ...server, reused: false };
    }
    await sleep(50);
  }
  return undefined;
}

function failed(logFile: string): never {
  throw new Error(`the server did not start:\n${readFileSync(logFile, 'utf8')}`);
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
