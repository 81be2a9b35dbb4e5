import type { PendingCall } from './actor.ts';
import type { Machine, Place } from './machine.ts';
import { type Call, isWrite, writtenKeys } from './world.ts';

export type FindIndependent = (
  places: readonly Place[],
  late: readonly Call[],
) => { readonly actor: number; readonly pending: PendingCall } | undefined;

/** Objects that no invariant looks at, so that it does not matter whether somebody died before he wrote them. */
const unseen = /^(?:gcq|catalog)\//;

/**
 * Finds a call that may be taken first and alone, whatever comes after: a wait; a read of what nobody who still runs ever
 * writes; a write of what nobody who still runs ever looks at, neither the invariants. "Nobody" includes the same actor's other
 * calls under way and the writes that may still land late.
 */
export function createIndependence(machines: readonly Machine[]): FindIndependent {
  const known = new Map<string, { size: number; touched: boolean }>();
  const touchedBy = (call: Call, index: number, own: boolean): boolean => {
    const machine = machines[index] as Machine;
    const { writes, reads, lists } = machine;
    const size = writes.size + reads.size + lists.size;
    const name = `${index} ${own} ${call.sig}`;
    const before = known.get(name);
    if (before !== undefined && (before.touched || before.size === size)) return before.touched;
    const touched = isWrite(call)
      ? writtenKeys(call).some(
          (key) =>
            (writes.get(key)?.size ?? 0) > (own ? 1 : 0) ||
            reads.has(key) ||
            [...lists].some((prefix) => key.startsWith(prefix)),
        )
      : [...writes.keys()].some((key) => looksAt(call, key));
    known.set(name, { size, touched });
    return touched;
  };
  return (places, late) => {
    for (const [actor, place] of places.entries()) {
      for (const pending of place.pending) {
        const { call } = pending;
        if (call.op === 'wait' && place.pending.length === 1) return { actor, pending };
        if (isWrite(call) && !(call.op === 'put' && unseen.test(call.key))) continue;
        if (late.some((write) => writtenKeys(write).some((key) => looksAt(call, key)))) continue;
        const touched = places.some(
          (other, index) =>
            other.pending.length > (index === actor ? 1 : 0) && touchedBy(call, index, index === actor),
        );
        if (!touched) return { actor, pending };
      }
    }
    return undefined;
  };
}

function looksAt(call: Call, key: string): boolean {
  return call.op === 'list' ? key.startsWith(call.key) : key === call.key;
}
