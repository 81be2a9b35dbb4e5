import { readdir, readFile } from 'node:fs/promises';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';

export interface ServerChild {
  readonly pid: number;
  readonly kind: 'http' | 'worker';
}

/** The running child processes of a supervisor, read from /proc. */
export async function childrenOf(server: TestServer): Promise<ServerChild[]> {
  const parent = server.process.pid;
  const children: ServerChild[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [stat, command] = await Promise.all([
        readFile(`/proc/${name}/stat`, 'latin1'),
        readFile(`/proc/${name}/cmdline`, 'latin1'),
      ]);
      // "pid (name) state ppid …", and the name may hold anything.
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(ppid) !== parent || state === 'Z') continue;
      const kind = command.split('\0').find((word) => word === 'http' || word === 'worker');
      if (kind === 'http' || kind === 'worker') children.push({ pid: Number(name), kind });
    } catch {
      // It ended while we looked.
    }
  }
  return children;
}

/** Processes whose group is this one's, among them git's that a killed child left behind. */
export async function processesOfGroup(group: number): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = await readFile(`/proc/${name}/stat`, 'latin1');
      const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(pgrp) === group && state !== 'Z') found.push(Number(name));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Starts a server on data of an earlier one; tries again while the port is not free yet. */
export async function restartServer(options: TestServerOptions): Promise<TestServer> {
  for (let tries = 1; ; tries++) {
    try {
      return await startServer(options);
    } catch (error) {
      if (tries === 5 || !String(error).includes('another program listens')) throw error;
    }
  }
}
