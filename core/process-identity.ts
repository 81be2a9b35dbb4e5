import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * A name for this process that no other ever has, `<host>:<pid>:<start>:<system>`: for leases, and for people. `system` says within what the number of a
 * process means anything: this boot of this kernel, and this PID namespace (containers share a host's name and kernel, and each has a process 7).
 * Where the kernel tells no such things (not Linux) the last two parts are `-`.
 */
export function processIdentity(): string {
  return [hostname(), process.pid, startOf(process.pid) ?? '-', system() ?? '-'].join(':');
}

/** True only when it is sure: that process ran on this system and does so no more. */
export function isProcessGone(identity: string): boolean {
  const [host, pid = '', start, where, ...rest] = identity.split(':');
  if (rest.length > 0 || host !== hostname() || !/^[1-9]\d{0,9}$/.test(pid)) return false;
  if (start === undefined || start === '-' || where === undefined || where !== system()) return false;
  try {
    const running = startOf(Number(pid));
    // Another process may have the number by now.
    return running !== undefined && running !== start;
  } catch {
    return false;
  }
}

/** When it was started, in ticks since the boot, `gone`, or undefined where the kernel does not tell. */
function startOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ESRCH: it ended between opening and reading.
    return (code === 'ENOENT' || code === 'ESRCH') && system() !== undefined ? 'gone' : undefined;
  }
  // The name, in brackets, may hold anything, brackets and spaces included; proc_pid_stat(5): 3 is the state, 22 the start.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? 'gone' : fields[19];
}

function system(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    return namespace === undefined ? undefined : `${boot}/${namespace}`;
  } catch {
    return undefined;
  }
}
