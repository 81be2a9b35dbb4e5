import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * Processes under this master that still take connections from `socketFile`, one of its listeners: after a reload the former workers go on for some
 * 100 ms beside the new ones. Empty where the kernel does not tell of processes as Linux does.
 */
export async function acceptingWorkers(master: number, socketFile: string): Promise<ReadonlySet<number>> {
  const found = new Set<number>();
  const inode = await listenerInode(socketFile);
  if (inode === undefined) return found;
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^[0-9]+$/.test(name) || (await parentOf(name)) !== master) continue;
    if (await holds(name, `socket:[${inode}]`)) found.add(Number(name));
  }
  return found;
}

/** proc_net(5), `/proc/net/unix`: number, references, protocol, flags, type, state, inode, path. Accepted connections bear the path, too. */
async function listenerInode(socketFile: string): Promise<string | undefined> {
  const table = await readFile('/proc/net/unix', 'utf8').catch(() => '');
  for (const line of table.split('\n')) {
    const [, flags, inode] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +(\d+) /.exec(line) ?? [];
    // __SO_ACCEPTCON
    if (flags === '00010000' && line.endsWith(` ${socketFile}`)) return inode;
  }
  return undefined;
}

/** proc_pid_stat(5): the name in brackets may hold anything. */
async function parentOf(pid: string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const parent = /^ \S ([0-9]+) /.exec(stat.slice(stat.lastIndexOf(')') + 1))?.[1];
  return parent === undefined ? undefined : Number(parent);
}

async function holds(pid: string, target: string): Promise<boolean> {
  for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    if ((await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')) === target) return true;
  }
  return false;
}
