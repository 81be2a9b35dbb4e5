import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type CephCluster, startCephCluster } from './ceph-cluster.ts';

// `node ceph-keeper.ts <name>`: one Ceph for all test files of a run, kept by a process of its own. Whoever wants it connects to the socket
// of that name and says which process it is for; the store ends when nobody is connected and none of those processes lives any more.
const name = process.argv[2] ?? '';
const waiting = new Set<Socket>();
const wantedBy = new Set<number>();
let cluster: CephCluster | undefined;

const server = createServer((socket) => {
  waiting.add(socket);
  socket.on('error', () => {});
  socket.once('close', () => waiting.delete(socket));
  createInterface({ input: socket }).once('line', (line) => {
    wantedBy.add(Number(line));
    void started.then(
      (ready) => socket.write(`${JSON.stringify(ready)}\n`),
      (error: unknown) => socket.end(`${JSON.stringify({ error: (error as Error).message })}\n`),
    );
  });
});
// A name without a file: binding it is atomic, and it is free again when this process is gone, however it went.
server.listen(`\0${name}`);
try {
  await once(server, 'listening');
} catch {
  // Another keeper was faster; it serves our caller.
  process.exit(0);
}
const started = startCephCluster({ folder: join(tmpdir(), name) });
started.catch(() => {});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
const end = async (): Promise<void> => {
  clearInterval(watch);
  server.close();
  await cluster?.stop();
  process.exit(0);
};
const begun = Date.now();
const watch = setInterval(() => {
  for (const pid of wantedBy) if (!isAlive(pid)) wantedBy.delete(pid);
  // Whoever started this has a moment to connect.
  if (waiting.size === 0 && wantedBy.size === 0 && (cluster !== undefined || Date.now() - begun > 60_000))
    void end();
}, 250);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end());
try {
  cluster = await started;
} catch {
  // Those who wait were told; the next one tries again with a new keeper.
  setTimeout(() => process.exit(1), 1_000);
}
