import { readdirSync, readFileSync } from 'node:fs';

/**
 * CPU seconds, user and system, of these processes with all their descendants, the ended ones included, and of all programs that this
 * process has started and seen end: so a side's clients count as well as its daemon.
 */
export function allCpuSeconds(daemons: readonly number[]): number {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statFields(Number(name))[1] ?? 0);
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const tree = [...daemons];
  for (const each of tree) tree.push(...(parents.get(each) ?? []));
  const ticks = tree.reduce((sum, pid) => sum + fieldSum(statFields(pid), [11, 12, 13, 14]), 0);
  return (ticks + fieldSum(statFields(process.pid), [13, 14])) / 100;
}

/** Clock ticks (1/100 s on Linux): own user and system time are 11 and 12, those of children that were waited for 13 and 14. */
function fieldSum(fields: readonly string[], wanted: readonly number[]): number {
  return wanted.reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
}

function statFields(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}
