import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ContainerApi, Labels } from './container-api.ts';

/** Label of everything a sandbox makes: who made it, so that what a killed server left behind can be told from what is in use. */
export const ownerLabel = 'dev.brickyard.sandbox.owner';
/** Label: seconds since 1970 after which nobody can be using it any more. */
export const deadlineLabel = 'dev.brickyard.sandbox.deadline';

/** Time after a step's own time-out for taking its outputs out. */
const graceSeconds = 3_600;

/** This process, unmistakably: host (a container's host name is its own), process id and the moment it started. */
export function thisOwner(): string {
  return `${hostname()} ${process.pid} ${startOf(process.pid) ?? '?'}`;
}

export function sandboxLabels(timeoutSeconds: number, now: number): Labels {
  const deadline = Math.ceil(now / 1000) + timeoutSeconds + graceSeconds;
  return { [ownerLabel]: thisOwner(), [deadlineLabel]: String(deadline) };
}

/** Removes containers and volumes of sandboxes whose process is gone or whose time is over. Returns how many there were. */
export async function removeOrphans(api: ContainerApi, now: number): Promise<number> {
  let removed = 0;
  for (const { id, labels } of await api.listContainers(ownerLabel)) {
    if (!isOrphan(labels, now)) continue;
    await api.removeContainer(id);
    removed += 1;
  }
  for (const { name, labels } of await api.listVolumes(ownerLabel)) {
    if (!isOrphan(labels, now)) continue;
    await api.removeVolume(name);
    removed += 1;
  }
  return removed;
}

function isOrphan(labels: Labels, now: number): boolean {
  if (Number(labels[deadlineLabel] ?? 0) * 1000 < now) return true;
  const [host, pid, start] = (labels[ownerLabel] ?? '').split(' ');
  // Only the own host's processes can be asked; another server's sandbox lives until its deadline.
  return host === hostname() && start !== '?' && startOf(Number(pid)) !== start;
}

/** Start of a process in clock ticks since boot (proc(5), /proc/pid/stat field 22); undefined = there is no such process. */
function startOf(pid: number): string | undefined {
  if (!Number.isSafeInteger(pid) || pid < 1) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses and may hold spaces.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
