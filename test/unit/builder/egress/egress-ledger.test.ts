import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { expect, it, vi } from 'vitest';
import { createEgressLedger } from '../../../../builder/egress/egress-ledger.ts';

it('each place that is refused is told of once, in words that harm no terminal, and not without end', () => {
  const lines: string[] = [];
  const ledger = createEgressLedger({ bytes: 1000, log: (line) => lines.push(line) });

  for (const place of ['a:1', 'a:1', '\x1b[2Jb:1']) ledger.refused(place, 'no');
  expect(lines).toEqual(['network: a:1 was not reached: no', 'network: ?[2Jb:1 was not reached: no']);

  for (let index = 0; index < 1000; index += 1) ledger.refused(`${index}.example:1`, 'no');
  expect(lines.length).toBeLessThan(60);
  expect(lines.at(-1)).toBe('network: further refusals are not shown');
});

it('a step that has moved its bytes is cut off, and what it reached stands in the log', () => {
  vi.useFakeTimers();
  try {
    const lines: string[] = [];
    const ledger = createEgressLedger({ bytes: 1000, log: (line) => lines.push(line) });
    const socket = createSocket();
    ledger.opened('a.example:443', socket as unknown as Socket);
    socket.bytesRead = 600;
    vi.advanceTimersByTime(1000);
    expect(ledger.isSpent()).toBe(false);

    socket.bytesWritten = 600;
    vi.advanceTimersByTime(1000);

    expect(ledger.isSpent()).toBe(true);
    expect(socket.destroyed).toBe(true);
    ledger.close();
    expect(lines).toEqual([
      'network: more than 1000 bytes were moved; nothing more is reached (builder.sandbox.egress.bytes)',
      'network: reached a.example:443 (1, 2 kB)',
    ]);
  } finally {
    vi.useRealTimers();
  }
});

it('a step that reached nobody gets no line', () => {
  const lines: string[] = [];
  createEgressLedger({ bytes: 1000, log: (line) => lines.push(line) }).close();

  expect(lines).toEqual([]);
});

function createSocket() {
  const events = new EventEmitter();
  return {
    once: events.once.bind(events),
    bytesRead: 0,
    bytesWritten: 0,
    destroyed: false,
    destroy(): void {
      this.destroyed = true;
      events.emit('close');
    },
  };
}
